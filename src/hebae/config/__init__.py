"""What an experiment asks for: the registry of names, the config and its schema, the runs."""

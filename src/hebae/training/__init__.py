"""Training a run, or several as one stack; resumed by calling it again."""

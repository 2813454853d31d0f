"""What all other packages use: errors, files, seeds, devices; nothing about autoencoders."""

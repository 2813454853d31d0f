"""What everything stands on: errors, files, seeds, the device; it knows no autoencoders."""

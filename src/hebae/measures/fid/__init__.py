"""The Fréchet distance between generated and real images."""

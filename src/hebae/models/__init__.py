"""Networks, objectives and reconstruction terms, and the autoencoder that is built from them."""

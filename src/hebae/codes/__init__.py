"""What a trained run says of images: posteriors, reconstructions, samples."""

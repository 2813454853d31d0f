"""What is measured on the posterior of a trained run; numpy only, so that it starts fast."""

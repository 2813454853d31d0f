"""What the report has beside the figures: its pages, and the facts that its captions state."""

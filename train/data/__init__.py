"""Training data: from labelled samples to batches."""

"""Training data: checks of the samples, splits, augmentation, and batches."""

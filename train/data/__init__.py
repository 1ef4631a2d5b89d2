"""Training data: the check of samples, splits, random changes, and batches."""

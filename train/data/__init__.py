"""From labelled pictures to batches."""

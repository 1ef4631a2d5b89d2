"""The training loop: epochs, checkpoints, losses and progress."""

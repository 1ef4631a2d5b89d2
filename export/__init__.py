"""From one float model to many small ones, each checked against it."""

"""Output on the terminal: the results of commands, and the progress of long operations."""

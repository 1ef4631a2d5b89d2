"""Tasks: how the outputs of a network become results. Each task has its own file."""

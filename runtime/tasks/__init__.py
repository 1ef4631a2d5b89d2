"""Tasks, which convert the outputs of a network into results. Each task has its own file."""

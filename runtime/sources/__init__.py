"""Sources of frames. Each kind has its own file."""

"""Heads of detectors, which convert the outputs of a network into boxes. Each layout of outputs has its own file."""

"""Decoding of a network's outputs into results, one file per task."""

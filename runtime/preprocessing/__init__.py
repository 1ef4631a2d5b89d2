"""Preprocessing: convert a raw sample into the input of a network."""

"""Preprocessing: the conversion of a raw sample into the array that a network takes."""

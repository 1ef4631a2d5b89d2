"""Preprocessing: from a raw sample to the array that a network takes."""

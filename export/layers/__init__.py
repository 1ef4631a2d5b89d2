"""Comparison of a quantised model file with its float file, layer by layer."""

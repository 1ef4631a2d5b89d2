"""Quantisation of converted model files."""

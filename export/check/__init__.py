"""Comparison of each variant with the original model."""

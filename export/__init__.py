"""Convert a float model into variants for edge devices, and compare each variant with the original model."""

"""Prediction of what the Edge TPU compiler maps, and the compiler itself."""

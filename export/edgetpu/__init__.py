"""Predict which operators of a model the Edge TPU compiler maps, and run the compiler."""

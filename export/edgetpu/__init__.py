"""Prediction of the operators that the Edge TPU compiler maps, and a function that runs the compiler."""

"""Benchmarks: distributions of times, the machine of the measurement, and the confidence of each figure."""

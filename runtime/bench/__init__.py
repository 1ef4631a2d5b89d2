"""Benchmarks: measured times, the state of the machine, and a confidence interval for each figure."""

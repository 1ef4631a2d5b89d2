"""Benchmarks: measure times with confidence intervals, and record the state of the machine during the measurement."""

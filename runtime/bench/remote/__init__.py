"""Benchmarks on other machines, through the system's ssh."""

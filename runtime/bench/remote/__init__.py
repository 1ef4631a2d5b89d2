"""Benchmarks on other machines, over the system's `ssh` command."""

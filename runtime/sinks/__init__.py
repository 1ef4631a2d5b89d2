"""Sinks, which consume ticks. Each kind has its own file."""

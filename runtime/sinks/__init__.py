"""Sinks. A sink receives the ticks of a loop. Each kind has its own file."""

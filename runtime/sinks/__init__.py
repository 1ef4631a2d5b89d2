"""Sinks of ticks, one file per kind."""

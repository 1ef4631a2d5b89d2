"""Measure accuracy on real data: data sets, metrics, and the evaluation of a session."""

"""Accuracy on real data: data sets, metrics, and a session held to both."""

"""Measurement: times as distributions, with the machine they were taken on and how sure they are."""

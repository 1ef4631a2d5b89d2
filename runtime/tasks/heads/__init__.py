"""Heads of detectors, one file per layout: how the outputs of a network become boxes."""

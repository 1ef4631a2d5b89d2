"""Checks of a machine and its installation, one file per subject."""

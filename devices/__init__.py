"""Detect the machine, describe known devices, diagnose problems, and define the errors.

The package uses only the standard library.
"""

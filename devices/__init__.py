"""Detect the machine, describe known devices, diagnose problems, and define the errors. Standard library only."""

"""Budgets: limits of time, size and accuracy that a bundle must keep."""

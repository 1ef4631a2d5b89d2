"""Budgets: limits for the time, size, memory and accuracy of a bundle."""

"""Engines, which run models. Each has its own file."""

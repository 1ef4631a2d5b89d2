"""Quantisation of converted files."""

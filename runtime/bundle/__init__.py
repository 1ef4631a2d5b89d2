"""Bundles.

A bundle contains the variants of one model and everything that they need to run and to verify themselves.
"""

"""Bundles: the variants of one model, with everything that they need to run and to verify themselves."""

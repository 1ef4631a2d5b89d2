"""Helpers that several tests share: small models, data, results, boards and servers."""

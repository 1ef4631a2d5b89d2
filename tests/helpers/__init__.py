"""Shared by the tests: small models, data, results, boards and servers."""

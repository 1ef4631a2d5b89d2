"""Bundles that ship with Orilla. `docs/zoo.md` describes how each was made."""

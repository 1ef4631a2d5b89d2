"""The bundles that ship with Orilla, by name; docs/zoo.md says how each was made."""

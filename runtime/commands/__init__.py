"""The commands of the base installation. Each command has its own module."""

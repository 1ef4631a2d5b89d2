"""Commands of the base install, one file each."""

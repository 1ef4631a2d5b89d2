"""What may be wrong with a machine or an installation, one file for each kind of thing."""

"""Jobs: what one training consists of, for each kind of model."""

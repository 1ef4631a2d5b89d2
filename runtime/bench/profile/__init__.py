"""The profile of a variant: the time of each layer, and what slows it down."""

"""Search for the fastest variant whose accuracy drops by at most a given number of points."""

"""The sources of frames. Each kind of source has its own module."""

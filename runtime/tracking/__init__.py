"""Tracking of objects over the frames of a stream, and counting of lines that they cross and zones that they enter."""

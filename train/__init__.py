"""Data and models of the curriculum, on any Keras backend."""

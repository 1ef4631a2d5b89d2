"""Functions that translate the layers of Keras 1 and Keras 2, one function per layer class."""

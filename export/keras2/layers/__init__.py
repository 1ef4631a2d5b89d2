"""Translate the layers of Keras 1 and Keras 2, one class after the other."""

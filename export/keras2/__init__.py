"""Read models that Keras 1 and Keras 2 wrote, as Keras 3 models that compute the same values."""

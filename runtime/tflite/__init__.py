"""Functions that read and rewrite `.tflite` files without an engine."""

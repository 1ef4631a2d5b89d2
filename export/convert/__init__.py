"""Conversion of Keras models to LiteRT and ONNX files. Each conversion runs in its own process."""

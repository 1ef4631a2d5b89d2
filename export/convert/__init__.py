"""Conversion of a Keras model into LiteRT and ONNX files, each in a process of its own."""

"""Import models that other tools wrote: `.tflite` and `.onnx` files."""

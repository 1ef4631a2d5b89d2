"""Train models for images and texts with Keras on TensorFlow, JAX or PyTorch."""

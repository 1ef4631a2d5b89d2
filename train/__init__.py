"""Training of image and text classifiers and of the road model with Keras, on TensorFlow, JAX or PyTorch."""

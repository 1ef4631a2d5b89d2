"""Train image and text classifiers, and the road model, with Keras on TensorFlow, JAX or PyTorch."""

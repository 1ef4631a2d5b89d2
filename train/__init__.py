"""Train the course models on any Keras backend."""

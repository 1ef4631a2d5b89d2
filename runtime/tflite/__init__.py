"""TFLite model files: read without an engine, and written again."""

"""Read and rewrite TFLite model files without an engine."""

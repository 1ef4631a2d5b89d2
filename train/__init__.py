"""Train models for images and texts with Keras on TensorFlow, JAX or PyTorch."""

from __future__ import annotations

import orilla.devices  # noqa: F401 - It switches off the telemetry of ONNX Runtime.

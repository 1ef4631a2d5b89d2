"""Convert a float model into variants for edge devices, and compare each variant with the original model."""

from __future__ import annotations

import orilla.devices  # noqa: F401 - It switches off the telemetry of ONNX Runtime.

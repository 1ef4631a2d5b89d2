"""Detect the machine, describe known devices, diagnose problems, and define the errors.

The package uses only the standard library.
"""

from __future__ import annotations

import os

# Stop ONNX Runtime 1.32 from writing a device ID and a database of events to the home folder when it is imported. All
# packages of Orilla import this package first, and child processes inherit the environment.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

"""The tasks, and the primary metric of each."""

from __future__ import annotations

from typing import Literal

Task = Literal["segment", "classify", "text", "tensor"]

FIRST_METRIC: dict[Task, str] = {"segment": "iou", "classify": "accuracy", "text": "accuracy", "tensor": "cosine"}
"""Name of the primary metric of each task. Models are chosen and compared by it."""

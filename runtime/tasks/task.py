"""The tasks, and what each is judged by."""

from __future__ import annotations

from typing import Literal

Task = Literal["segment", "classify", "text", "tensor"]

FIRST_METRIC: dict[Task, str] = {"segment": "iou", "classify": "accuracy", "text": "accuracy", "tensor": "cosine"}
"""The measure that a model of each task is chosen and held by."""

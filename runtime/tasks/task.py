"""The tasks and their primary metrics."""

from __future__ import annotations

from typing import Literal

Task = Literal["segment", "classify", "text", "tensor"]

FIRST_METRIC: dict[Task, str] = {"segment": "iou", "classify": "accuracy", "text": "accuracy", "tensor": "cosine"}
"""Metric by which a model of each task is chosen and compared."""

"""Non-maximum suppression: of several boxes around one object, the best one remains."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from orilla.runtime.tasks.heads.head import Detections

MAX_CANDIDATES = 4096
"""Number of candidates that are compared with each other. Those with lower scores are removed first."""


def suppress(candidates: Detections, iou_threshold: float, max_boxes: int) -> Detections:
    """Return the best boxes in descending order of score.

    Boxes of different classes do not suppress each other. Boxes with equal scores keep their order, so equal inputs
    have equal results.

    Args:
        candidates: Boxes before suppression.
        iou_threshold: Of two boxes of one class with a larger IoU, the one with the lower score is removed. 1 keeps
            all boxes.
        max_boxes: Maximum number of boxes.
    """
    found = strongest(candidates, MAX_CANDIDATES)
    if not len(found) or iou_threshold >= 1:
        return found.take(np.arange(min(max_boxes, len(found))))
    boxes = found.boxes_xyxy.astype(np.float64)
    # OpenCV separates the classes by an offset that assumes positive coordinates.
    corner, size = boxes[:, :2] - boxes[:, :2].min(axis=0), boxes[:, 2:] - boxes[:, :2]
    boxes_xywh: Any = np.concatenate([corner, size], axis=1)
    scores: Any = found.scores
    classes: Any = found.classes.astype(np.int32)
    kept = cv2.dnn.NMSBoxesBatched(boxes_xywh, scores, classes, -1.0, iou_threshold)
    return found.take(np.sort(np.asarray(kept, np.intp))[:max_boxes])


def strongest(detections: Detections, count: int) -> Detections:
    """Return at most `count` objects in descending order of score. Boxes that are empty or not finite are removed."""
    boxes = detections.boxes_xyxy
    valid = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    detections = detections.take(np.flatnonzero(valid))
    return detections.take(np.argsort(-detections.scores, kind="stable")[:count])

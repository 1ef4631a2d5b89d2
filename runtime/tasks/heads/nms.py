"""Non-maximum suppression: of several boxes around one object, only the box with the highest score is kept."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from orilla.runtime.tasks.heads.head import Detections

MAX_CANDIDATES = 4096
"""Maximum number of boxes that are compared with each other. If there are more, the boxes with the lowest scores are
removed first."""


def suppress(candidates: Detections, iou_threshold: float, max_boxes: int) -> Detections:
    """Return the best boxes in descending order of score.

    Boxes of different classes do not suppress each other. Boxes with equal scores keep their order, so the result is
    deterministic.

    Args:
        candidates: Boxes before suppression.
        iou_threshold: Maximum IoU of two boxes of one class. If it is larger, the box with the lower score is removed.
            A threshold of 1 keeps all boxes.
        max_boxes: Maximum number of boxes.
    """
    found = strongest(candidates, MAX_CANDIDATES)
    if not len(found) or iou_threshold >= 1:
        return found.take(np.arange(min(max_boxes, len(found))))
    boxes = found.boxes_xyxy.astype(np.float64)
    # OpenCV adds an offset to the boxes of each class to separate the classes. This works only for positive
    # coordinates.
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

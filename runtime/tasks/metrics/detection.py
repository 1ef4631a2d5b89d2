"""Metrics of detectors, as the COCO benchmark defines them.

Source: Lin et al., "Microsoft COCO: Common Objects in Context" (arXiv 1405.0312), and the evaluation code `pycocotools`
(cocodataset/cocoapi, BSD-2), with which the tests compare the results. The settings are: boxes of all areas, at most
100 boxes per image and class, and precision interpolated at 101 recalls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.tasks.heads.head import Detections
from orilla.runtime.tasks.metrics.bootstrap import Interval, intervals

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MAX_BOXES = 100
"""Maximum number of boxes per image and class. Only the boxes with the highest scores count."""

RESAMPLES = 300
"""Number of resamples for the intervals. It is smaller than for other metrics, because a resample takes
milliseconds."""

MIN_MAP, MIN_OBJECTS = 0.01, 8
"""A detector counts as finding almost nothing if its mAP at an IoU of 0.5 is below the first number, and the data set
has at least as many objects as the second number."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BoxTruth:
    """The true objects of one image."""

    boxes_xyxy: NDArray[np.float32]
    """Left, top, right and bottom edge in pixels, `[N,4]`. Right and bottom are exclusive."""
    classes: NDArray[np.int64]
    """Indices of the classes, `[N]`."""
    crowd: Bools
    """True for boxes around groups of objects ("crowds"), `[N]`. A detection that matches only a crowd is neither
    a true nor a false positive."""
    frame_hw: tuple[int, int] | None = None
    """Height and width of the image in pixels. If None, the boxes are in pixels of the network's input."""


@dataclass(frozen=True, slots=True)
class _ClassMatches:
    """The detections of one class in all images, in descending order of score."""

    images: NDArray[np.intp]
    """Index of the image of each detection, `[N]`."""
    right: Bools
    """True if the detection matches a true object, for each of the ten IoU thresholds, `[10,N]`."""
    wrong: Bools
    """True if the detection matches no true object and no crowd, for each of the ten IoU thresholds, `[10,N]`."""
    objects: Floats
    """Number of true objects in each image, `[I]`. Crowds do not count."""


class NoObjectMetrics:
    """Metrics of images in which the original model finds no object. Average precision is then undefined.

    Args:
        found: True for each image in which the model finds an object.
    """

    def __init__(self, found: Sequence[bool]) -> None:
        self._empty = 1.0 - np.asarray(found, np.float64)

    def metrics(self, weights: Floats | None = None) -> dict[str, float]:
        """Return the share of images without boxes as `map`, and 0 as `objects`, the number of true objects.

        Args:
            weights: How often each image counts, `[N]`. If None, each counts once.
        """
        return {"map": float(np.average(self._empty, weights=weights)), "objects": 0.0}

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over images."""
        return intervals(self.metrics, len(self._empty))


class DetectionMetrics:
    """Metrics of a set of images, computed from true and detected boxes.

    Args:
        truths: The true objects of each image.
        found: The detected objects of each image. Their boxes and the true boxes are in pixels of the same image.
        classes: Class names.

    Raises:
        DataError: No image has a true object.
    """

    def __init__(self, truths: Sequence[BoxTruth], found: Sequence[Detections], classes: tuple[str, ...]) -> None:
        self._count = len(truths)
        matches = {name: _matches_of(truths, found, index) for index, name in enumerate(classes)}
        self._matches = {name: one for name, one in matches.items() if one.objects.any()}
        if not self._matches:
            msg = "no image has a box of a class of the model, so mAP cannot be measured: use images with objects"
            raise DataError(msg)

    def metrics(self, weights: Floats | None = None) -> dict[str, float]:
        """Return mAP over the IoU thresholds 0.5 to 0.95, mAP at 0.5 and 0.75, mean recall, and AP per class.

        Classes without a true object are excluded from all metrics.

        Args:
            weights: How often each image counts, `[I]`. If None, each counts once. If no image with a weight has a true
                object, the result is empty.
        """
        weight = np.ones(self._count) if weights is None else weights
        curves = {name: _curve(one, weight) for name, one in self._matches.items()}
        known = {name: curve for name, curve in curves.items() if curve is not None}
        if not known:
            return {}
        precision = np.stack([precision for precision, _ in known.values()])
        recall = np.stack([recall for _, recall in known.values()])
        metrics = {
            "map": float(precision.mean()),
            "map50": float(precision[:, 0].mean()),
            "map75": float(precision[:, 5].mean()),
            "mar100": float(recall.mean()),
        }
        return metrics | {f"ap/{name}": float(row.mean()) for name, row in zip(known, precision, strict=True)}

    def chance(self) -> str | None:
        """Return a warning if the detector finds almost no object, else None."""
        value, objects = self.metrics()["map50"], sum(int(one.objects.sum()) for one in self._matches.values())
        if value >= MIN_MAP or objects < MIN_OBJECTS:
            return None
        return f"mAP at an IoU of 0.5 is {value:.3f} on {self._count} images: almost none of {objects} objects is found"

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over images with `RESAMPLES` resamples."""
        return intervals(self.metrics, self._count, resamples=RESAMPLES)


def iou_matrix(boxes: NDArray[np.floating], others: NDArray[np.floating], crowd: Bools | None = None) -> Floats:
    """Return the IoU of each box with each other box, `[N,M]`.

    Args:
        boxes: Boxes as left, top, right and bottom edge, `[N,4]`.
        others: Boxes, `[M,4]`.
        crowd: True for each box of `others` that is a crowd, `[M]`. For a crowd, the result is not the IoU, but the
            share of the box that lies inside the crowd.
    """
    # Separate arrays for the four edges are several times as fast as one array with an axis for the edges.
    left, top, right, bottom = boxes.astype(np.float64).T[..., None]
    other_left, other_top, other_right, other_bottom = others.astype(np.float64).T
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    common = np.maximum(width, 0) * np.maximum(height, 0)
    area, other_area = (right - left) * (bottom - top), (other_right - other_left) * (other_bottom - other_top)
    union = area + other_area - common
    if crowd is not None:
        union = np.where(crowd, area, union)
    ious: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return ious


def match(ious: Floats, crowd: Bools) -> tuple[Bools, Bools]:
    """Assign true boxes to detections for each IoU threshold.

    Each detection is assigned the true box with the largest IoU among the boxes that no earlier detection has. If no
    box is left, the detection may be assigned to a crowd. A crowd may have any number of detections. If several IoUs
    are equal, the last true box is used, as in `pycocotools`.

    Args:
        ious: IoU of each detection, in descending order of score, with each true box, `[D,G]`.
        crowd: True for each true box that is a crowd, `[G]`.

    Returns:
        Two arrays `[10,D]`: True for each detection that has a true box, and True for each detection in a crowd.
    """
    limits = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    right, in_crowd = (np.zeros((len(limits), len(ious)), bool) for _ in range(2))
    regular = ious[:, ~crowd]
    free = np.ones((len(limits), regular.shape[1]), bool)
    rows = np.arange(len(limits))
    for index in np.flatnonzero((regular >= limits[0]).any(axis=1)):
        values = np.where(free, regular[index], -1)
        best = values.shape[1] - 1 - values[:, ::-1].argmax(axis=1)
        right[:, index] = values[rows, best] >= limits
        free[rows[right[:, index]], best[right[:, index]]] = False
    if crowd.any():
        in_crowd = (ious[:, crowd].max(axis=1) >= limits[:, None]) & ~right
    return right, in_crowd


def _matches_of(truths: Sequence[BoxTruth], found: Sequence[Detections], cls: int) -> _ClassMatches:
    """Match the detections of one class in all images."""
    images, scores, right, crowded, objects = [], [], [], [], np.zeros(len(truths))
    for image, (truth, detections) in enumerate(zip(truths, found, strict=True)):
        chosen, known = np.flatnonzero(detections.classes == cls), truth.classes == cls
        chosen = chosen[np.argsort(-detections.scores[chosen], kind="stable")][:MAX_BOXES]
        objects[image] = np.count_nonzero(known & ~truth.crowd)
        if len(chosen):
            crowd = truth.crowd[known]
            ious = iou_matrix(detections.boxes_xyxy[chosen], truth.boxes_xyxy[known], crowd)
            one_right, one_crowded = match(ious, crowd)
            right.append(one_right)
            crowded.append(one_crowded)
            scores.append(detections.scores[chosen])
            images.append(np.full(len(chosen), image))
    if not images:
        nothing = np.zeros((len(IOU_THRESHOLDS), 0), bool)
        return _ClassMatches(np.zeros(0, np.intp), nothing, nothing, objects)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    is_right, is_crowded = (np.concatenate(parts, axis=1)[:, order] for parts in (right, crowded))
    return _ClassMatches(np.concatenate(images)[order], is_right, ~is_right & ~is_crowded, objects)


def _curve(matches: _ClassMatches, weights: Floats) -> tuple[Floats, Floats] | None:
    """Return the precision by IoU threshold and recall, `[10,101]`, and the final recall by IoU threshold, `[10]`.

    Return None if no image with a weight above 0 has a true object.
    """
    total = float(weights @ matches.objects)
    if total == 0:
        return None
    precision = np.zeros((len(IOU_THRESHOLDS), len(RECALLS)))
    if not len(matches.images):
        return precision, precision[:, 0]
    weight = weights[matches.images]
    right, wrong = np.cumsum(matches.right * weight, axis=1), np.cumsum(matches.wrong * weight, axis=1)
    recall = right / total
    raw = right / (right + wrong + np.spacing(1))
    # The precision at a recall is the highest precision at this or any higher recall.
    envelope = np.maximum.accumulate(raw[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
    for row, values in enumerate(recall):
        precision[row] = padded[row, np.searchsorted(values, RECALLS)]
    return precision, recall[:, -1]

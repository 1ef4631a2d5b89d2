"""Metrics of a segmentation with several classes, computed per pixel at the size of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.tasks.metrics.bootstrap import Interval, intervals

Confusion = NDArray[np.int64]
"""Pixel counts by true class (row) and predicted class (column), `[C,C+1]`. The last column counts the pixels without a
prediction, which lie outside a crop."""


def confusion(predicted: NDArray[np.uint8], truth: NDArray[np.integer], indices: Sequence[int]) -> Confusion:
    """Count the pixels of one image. Pixels whose true class the model does not know are ignored.

    Args:
        predicted: Class indices of the model, `[H,W]`.
        truth: Class indices of the data set, `[H,W]`.
        indices: Index in the data set of each class of the model.
    """
    count = len(indices)
    of_data = np.full(max(256, max(indices) + 1), count, np.int64)
    of_data[list(indices)] = np.arange(count)
    known = of_data[np.asarray(truth, np.int64)]
    pairs = known * (count + 1) + np.minimum(predicted, count)
    counted = np.bincount(pairs[known < count], minlength=count * (count + 1))
    return counted.reshape(count, count + 1).astype(np.int64)


class ClassSegmentationMetrics:
    """Metrics of a set of images, computed from pixel counts.

    Args:
        labels: Names of the classes.
        counts: The pixel counts of each image.

    Raises:
        DataError: No image has a labelled pixel of a class that the model knows.
    """

    def __init__(self, labels: tuple[str, ...], counts: list[Confusion]) -> None:
        self._labels, self._counts = labels, np.stack(counts).astype(np.float64)
        if not self._counts.any():
            msg = "no image has a pixel that is labelled with a class of the model, so nothing can be measured"
            raise DataError(msg)

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return the mean IoU, the IoU of each class, and the pixel accuracy.

        The IoU of a class is the number of pixels with this class in both the ground truth and the prediction, divided
        by the number of pixels with this class in at least one of the two. The mean includes the classes that occur in
        the ground truth or in the prediction. Source: Everingham et al., "The Pascal Visual Object Classes
        Challenge: A Retrospective" (2015), section 2.3.

        Args:
            weights: How often each image counts, `[N]`. If None, each counts once.
        """
        weight = np.ones(len(self._counts)) if weights is None else weights
        total = np.tensordot(weight, self._counts, 1)
        hits, truth = np.diagonal(total), total.sum(axis=1)
        union = truth + total[:, : len(hits)].sum(axis=0) - hits
        ious = np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)
        accuracy = float(hits.sum() / truth.sum()) if truth.sum() else math.nan
        metrics = {"iou": float(np.nanmean(ious)) if np.isfinite(ious).any() else math.nan, "pixel_accuracy": accuracy}
        metrics |= {f"iou/{label}": float(iou) for label, iou in zip(self._labels, ious, strict=True)}
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def chance(self) -> str | None:
        """Return a warning if the mean IoU is not better than that of a constant prediction, else None.

        The constant prediction is the most frequent class for all pixels. The mean IoU is better if the lower end of
        its 95 % interval is above the mean IoU of the constant prediction.
        """
        truth = self._counts.sum(axis=(0, 2))
        constant = float(truth.max() / truth.sum() / np.count_nonzero(truth))
        if np.count_nonzero(truth) < 2 or self.intervals()["iou"][0] > constant:
            return None
        return (
            f"mean IoU {self.metrics()['iou']:.3f} on {len(self._counts)} images is not better than {constant:.3f}, "
            f"the mean IoU of {self._labels[int(truth.argmax())]} for all pixels"
        )

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over images."""
        return intervals(self.metrics, len(self._counts), are_shares=True)

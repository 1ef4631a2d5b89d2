"""Metrics of a segmentation, computed per pixel at the size of the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.tasks.metrics.bootstrap import Interval, intervals

BINS = 256
"""Number of bins of the predicted probability. The middle bin starts at the threshold 0.5."""

Tally = NDArray[np.int64]
"""Pixel counts by bin of the predicted probability, `[2,256]`: the first row counts background pixels, the second class
pixels."""


def tally(probability: NDArray[np.float32], truth: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Tally:
    """Count the pixels of one image where `counted` is True. All arrays are `[H,W]`."""
    bins = np.clip(probability * BINS, 0, BINS - 1).astype(np.int64) + BINS * truth
    return np.bincount(bins[counted], minlength=2 * BINS).reshape(2, BINS)


class NoPixelMetrics:
    """Metrics of images in which the original model finds no pixel of its only class. The IoU is then undefined.

    Args:
        tallies: The pixel counts of each image.
    """

    def __init__(self, tallies: list[Tally]) -> None:
        self._empty = np.array([not tally[0, BINS // 2 :].any() for tally in tallies], np.float64)

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return the share of images with an empty mask as `iou`, and 0 as `objects`, the number of true objects.

        Args:
            weights: How often each image counts, `[N]`. If None, each counts once.
        """
        return {"iou": float(np.average(self._empty, weights=weights)), "objects": 0.0}

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over images."""
        return intervals(self.metrics, len(self._empty))


class SegmentationMetrics:
    """Metrics of a set of images, computed from pixel counts.

    Args:
        names: Names of the images. The part before the first `_` names the sequence, if any.
        tallies: The pixel counts of each image.

    Raises:
        DataError: No labelled pixel belongs to the class, and no pixel was predicted as the class.
    """

    def __init__(self, names: list[str], tallies: list[Tally]) -> None:
        self._tallies = np.stack(tallies).astype(np.float64)
        self._sequences: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            sequence, underscore, _ = name.partition("_")
            if underscore:
                self._sequences.setdefault(sequence, []).append(index)
        if math.isnan(_metrics_of(self._tallies.sum(axis=0))["iou"]):
            msg = "no image has a labelled pixel of the class, so nothing can be measured"
            raise DataError(msg)

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return IoU, mean IoU with the background, pixel accuracy, precision, recall, F1 and MaxF over all pixels.

        MaxF is the maximum F1 over all thresholds. If there are several sequences, the IoU of each is included.
        Undefined metrics are omitted.

        Source of MaxF: Fritsch, Kuehnl, Geiger (2013), see `datasets.kitti`. There, MaxF is computed in bird's-eye
        view, but this function computes it in the image.

        Args:
            weights: How often each image counts, `[N]`. If None, each counts once.
        """
        weight = np.ones(len(self._tallies)) if weights is None else weights
        metrics = _metrics_of(np.tensordot(weight, self._tallies, 1))
        if len(self._sequences) > 1:
            for name, indices in sorted(self._sequences.items()):
                iou = _metrics_of(np.tensordot(weight[indices], self._tallies[indices], 1))["iou"]
                if not math.isnan(iou):
                    metrics[f"iou/{name}"] = iou
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def chance(self) -> str | None:
        """Return a warning if the IoU is not better than that of a mask of the whole image, else None.

        It is better if the lower end of its 95 % interval is above the IoU of that mask.
        """
        total = self._tallies.sum(axis=0)
        constant = float(total[1].sum() / total.sum())
        if self.intervals()["iou"][0] > constant:
            return None
        iou, count = _metrics_of(total)["iou"], len(self._tallies)
        return f"IoU {iou:.3f} on {count} images is not better than {constant:.3f}, the IoU of a mask of all pixels"

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over images.

        The images of one drive are similar to each other, so the metrics of another drive may lie outside the interval.
        """
        return intervals(self.metrics, len(self._tallies), are_shares=True)


def _metrics_of(total: NDArray[np.float64]) -> dict[str, float]:
    """Compute the metrics from pixel counts `[2,256]`, summed over images.

    The rows are background pixels and class pixels.
    """
    # Number of pixels at or above each threshold. These pixels are predicted as the class.
    wrong, right = np.cumsum(total[:, ::-1], axis=1)[:, ::-1]
    half, positives, negatives = BINS // 2, float(total[1].sum()), float(total[0].sum())
    hit, false = float(right[half]), float(wrong[half])
    missed, clear = positives - hit, negatives - false
    f1 = np.divide(2 * right, right + wrong + positives, out=np.zeros(BINS), where=right + wrong + positives > 0)
    iou, background = _ratio(hit, hit + false + missed), _ratio(clear, clear + false + missed)
    return {
        "iou": iou,
        "miou": iou if math.isnan(background) else (iou + background) / 2,
        "pixel_accuracy": _ratio(hit + clear, positives + negatives),
        "precision": _ratio(hit, hit + false) if hit + false else 0.0,
        "recall": _ratio(hit, positives),
        "f1": float(f1[half]),
        "maxf": float(f1.max()),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan

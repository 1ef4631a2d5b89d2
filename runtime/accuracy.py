"""How right, and how alike: the measures that training, the export check and verification share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.datasets import Dataset, LabelledImage

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixel counts of a predicted against a true mask; counts of several pictures add up."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(
            self.true_positive + other.true_positive,
            self.false_positive + other.false_positive,
            self.false_negative + other.false_negative,
            self.true_negative + other.true_negative,
        )

    @property
    def iou(self) -> float:
        """Intersection over union, the Jaccard index, 0-1; NaN where neither mask holds a pixel."""
        union = self.true_positive + self.false_positive + self.false_negative
        return self.true_positive / union if union else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels decided rightly, 0-1; NaN without pixels."""
        total = self.true_positive + self.false_positive + self.false_negative + self.true_negative
        return (self.true_positive + self.true_negative) / total if total else float("nan")


def overlap(predicted: Mask, truth: Mask, counted: Mask) -> Overlap:
    """Counts pixels, `[H,W]` bool each, where `counted` holds."""
    hit = int(np.count_nonzero(predicted & truth & counted))
    said, is_true = int(np.count_nonzero(predicted & counted)), int(np.count_nonzero(truth & counted))
    return Overlap(hit, said - hit, is_true - hit, int(np.count_nonzero(counted)) - said - is_true + hit)


def overlaps(
    dataset: Dataset, split: str, label: str, predict: Callable[[LabelledImage], Mask], *, limit: int | None = None
) -> dict[str, Overlap]:
    """Counts pixels of `label` for every picture of a split, by the picture's name.

    Args:
        predict: from a sample to its mask, `[H,W]` bool at the picture's own size.
        limit: stop after so many pictures.
    """
    target = dataset.classes.index(label)
    counts = {}
    for index, name in enumerate(dataset.names(split)[:limit]):
        sample = dataset.load(split, index)
        counts[name] = overlap(predict(sample), sample.labels == target, sample.labels != dataset.ignore)
    return counts


def summarise(counts: dict[str, Overlap]) -> dict[str, float]:
    """IoU and pixel accuracy over all pixels, and IoU of each sequence where names tell several apart.

    Raises:
        DataError: no labelled pixel belongs to the class, and none was said to.
    """
    total = sum(counts.values(), Overlap())
    if math.isnan(total.iou):
        raise DataError("no picture has a labelled pixel of the class: there is nothing to measure")
    metrics = {"iou": total.iou, "pixel_accuracy": total.pixel_accuracy}
    sequences: dict[str, Overlap] = {}
    for name, count in counts.items():
        sequence, underscore, _ = name.partition("_")
        if underscore:
            sequences[sequence] = sequences.get(sequence, Overlap()) + count
    if len(sequences) > 1:
        found = {f"iou/{name}": count.iou for name, count in sorted(sequences.items())}
        metrics |= {name: iou for name, iou in found.items() if not math.isnan(iou)}
    return metrics

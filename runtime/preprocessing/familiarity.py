"""Measure how far an image is from the calibration data of a model, with statistics of the prepared image.

The statistics are brightness, colour and structure of the whole image and of nine parts of it. They are independent of
the model. They show whether an image is unusual, not whether the model is right. `tests/perf/guard.py` measures how
many images of other data sets are recognised.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

GRID_HW = (48, 64)
"""Approximate height and width of the grid of pixels from which most statistics are computed."""

ROWS = 20
"""Number of image rows in which the differences of adjacent pixels are computed."""

PARTS_WH = (3, 3)
"""Number of parts of the image across and down."""

LEVELS = (0.02, 0.25, 0.5, 0.75, 0.98)
"""Quantiles of the grey levels."""

MIN_DEVIATION = 1.0
"""Smallest deviation of a statistic, in grey levels or hundredths of a logarithm. Without it, all other images would be
unfamiliar if the calibration images were almost equal."""

FAR = 1.05
"""An image is unfamiliar if its distance is larger than this factor times the distance that 99 % of the calibration
images do not exceed. The factor was chosen with the data sets in docs/camera-loop.md."""

SHRINKAGE = 0.1
"""Factor by which correlations are reduced, because correlations over few images are partly due to chance. Source:
Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004)."""

MIN_SAMPLES, MIN_SIDE = 20, 16
"""Smallest number of calibration images, and smallest height and width in pixels, for which statistics are computed."""

FOLDS = 10
"""Number of folds. The distances of each fold are measured with the statistics of the other folds."""

QUANTILE = 0.99
"""Share of the calibration images whose distance is at most `Familiarity.distance`."""


class Familiarity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Statistics of the prepared calibration images of a model."""

    means: tuple[float, ...]
    """Mean of each statistic."""
    deviations: tuple[float, ...]
    """Standard deviation of each statistic."""
    distance: float
    """Distance that 99 % of the calibration images do not exceed, if an image does not contribute to the statistics
    that it is compared with."""
    precision: tuple[tuple[float, ...], ...]
    """Inverse of the matrix of correlations between the statistics."""

    def problem(self) -> str | None:
        """Return an error message if the numbers cannot be used, or None."""
        size = len(self.means)
        if len(self.deviations) != size or [len(row) for row in self.precision] != [size] * size:
            return "familiarity: means, deviations and the rows and columns of the precision are not equally many"
        rows = (self.means, self.deviations, (self.distance,), *self.precision)
        if not all(math.isfinite(number) for row in rows for number in row):
            return "familiarity: a number is not finite"
        if self.distance <= 0 or min(self.deviations, default=0) <= 0:
            return "familiarity: deviations and distance must be positive"
        return None


class FamiliarityCheck:
    """Compares prepared images with the calibration data of a model."""

    def __init__(self, familiarity: Familiarity) -> None:
        means, deviations, precision = familiarity.means, familiarity.deviations, familiarity.precision
        self._fit = _Fit(np.array(means), np.array(deviations), np.array(precision))
        self._limit = FAR * familiarity.distance

    def is_far(self, image: NDArray[np.uint8]) -> bool:
        """Return True if a prepared image `[H,W,C]` uint8 is far from the calibration data.

        The result is False if the number of channels is not that of the calibration images.
        """
        found = statistics_of(image)
        return found.shape == self._fit.means.shape and self._fit.distance(found) > self._limit


def familiarity_of(images: NDArray[np.uint8]) -> Familiarity | None:
    """Return the statistics of prepared images `[N,H,W,C]` uint8, or None if they are too few or too small."""
    if len(images) < MIN_SAMPLES or min(images.shape[1:3]) < MIN_SIDE:
        return None
    found = np.array([statistics_of(image) for image in images])
    fold = np.arange(len(found)) % FOLDS
    distances = []
    for number in range(FOLDS):
        fit = _fitted(found[fold != number])
        distances += [fit.distance(row) for row in found[fold == number]]
    fit = _fitted(found)
    limit = float(np.quantile(distances, QUANTILE))
    return Familiarity(
        _rounded(fit.means), _rounded(fit.deviations), max(round(limit, 3), 0.001), tuple(map(_rounded, fit.precision))
    )


class _Fit(NamedTuple):
    """A normal distribution of the statistics."""

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    precision: NDArray[np.float64]

    def distance(self, found: NDArray[np.float64]) -> float:
        """Return the Mahalanobis distance, divided by the square root of the number of statistics."""
        scaled = (found - self.means) / self.deviations
        return math.sqrt(max(0.0, float(scaled @ self.precision @ scaled)) / len(scaled))


def _fitted(found: NDArray[np.float64]) -> _Fit:
    means, deviations = found.mean(axis=0), np.maximum(found.std(axis=0), MIN_DEVIATION)
    scaled = (found - means) / deviations
    correlations = (1 - SHRINKAGE) * scaled.T @ scaled / len(scaled) + SHRINKAGE * np.eye(found.shape[1])
    return _Fit(means, deviations, np.linalg.inv(correlations))


def _rounded(row: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in row)


def statistics_of(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the statistics of a prepared image `[H,W,C]` uint8 with one or three channels.

    They are the mean of each channel, the quantiles and the deviation of the grey levels, the differences of
    neighbouring pixels in the grid and in the image, and for each part of the image its brightness compared with the
    image, and its structure. Differences are measured on a logarithmic scale, because their range is large.
    """
    height, width, channels = image.shape
    sample = np.ascontiguousarray(image[:: max(1, height // GRID_HW[0]), :: max(1, width // GRID_HW[1])])
    grey = cv2.cvtColor(sample, cv2.COLOR_RGB2GRAY) if channels == 3 else sample[:, :, 0]
    means = cv2.mean(sample)[:channels]
    ordered = np.sort(grey, axis=None, kind="stable")  # For uint8, this is a radix sort, which is the fastest.
    levels = [float(ordered[int(level * (ordered.size - 1))]) for level in LEVELS]
    mean, deviation = cv2.meanStdDev(grey)
    across = cv2.absdiff(grey[:, 1:], grey[:, :-1])
    down = cv2.absdiff(grey[1:], grey[:-1])
    rows = np.ascontiguousarray(image[:: max(1, height // ROWS), :, 0])
    near = cv2.absdiff(rows[:, 1:], rows[:, :-1])
    brightness = cv2.resize(grey.astype(np.float32), PARTS_WH, interpolation=cv2.INTER_AREA).ravel() - mean[0, 0]
    structure = cv2.resize(across.astype(np.float32), PARTS_WH, interpolation=cv2.INTER_AREA).ravel()
    middle = sum(means) / channels
    colour = sum(abs(value - middle) for value in means) / channels
    steps = [cv2.mean(difference)[0] for difference in (across, down, near)]
    differences = [deviation[0, 0], colour, *steps, *structure.tolist()]
    return np.array([*means, *levels, *brightness.tolist(), *(100 * math.log1p(value) for value in differences)])

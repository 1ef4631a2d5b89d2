"""Find frames for which a model's answers cannot be trusted, such as dark, blurred, frozen or unfamiliar frames.

The thresholds were chosen with images of four data sets, taken by day and by night. `tests/perf/guard.py` counts false
alarms and missed frames. The results are in docs/camera-loop.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, unknown_name
from orilla.runtime.loop.checks import CHECKS
from orilla.runtime.loop.stages import RungInput
from orilla.runtime.preprocessing.familiarity import Familiarity, FamiliarityCheck

GRID_HW = (48, 64)
"""Approximate height and width of the grid of pixels that is used to compute brightness and structure."""

LINES = 20
"""Number of image rows in which sharpness is measured."""

DARK_LEVEL, BRIGHT_LEVEL = 30.0, 235.0
"""A frame is dark if 99 % of its pixels are at or below the first grey level, and bright if 99 % are at or above the
second."""

SHARP_RATIO = 0.29
"""Minimum ratio of two mean differences: between close pixels, and between pixels four times as far apart. The ratio is
0.25 for a smooth ramp, such as an edge that is out of focus, and larger for sharp edges."""

SHARP_SPAN = 320
"""Close pixels are 1/320 of the frame's width apart, at least one pixel. Sharpness is therefore measured at about the
resolution of a network's input, not at that of the camera."""

MIN_DIFFERENCE = 1.0
"""Minimum mean difference, in grey levels, between the pixels that are farther apart. In a frame with less texture,
sharpness cannot be measured."""

FLAT_DEVIATION, FLAT_SHARE = 2.0, 0.75
"""A block of the frame is flat if the standard deviation of its grey levels is below the first number. A frame is
covered if at least this share of its blocks is flat."""

BLOCKS_HW = (6, 8)

FROZEN_NS, FROZEN_FRAMES = 1_000_000_000, 5
"""Identical frames count as frozen after this time in nanoseconds and this number of frames. Sensor noise normally
makes any two frames differ."""


GuardLike = str | bool | None
"""Names of checks separated by commas, True for all, False for none, or None for the default: all checks for a live
source, and none for a recorded one."""


class Guard:
    """Checks the frames of one source, in order.

    Args:
        checks: Names of the checks to make, from `CHECKS`.
        familiarity: Statistics of the model's calibration images. If None, the check `unfamiliar` finds nothing.
    """

    def __init__(self, checks: Sequence[str], familiarity: Familiarity | None = None) -> None:
        self._checks = frozenset(checks)
        self._familiar = FamiliarityCheck(familiarity) if familiarity is not None else None
        self._last: NDArray[np.uint8] | None = None
        self._same_since_ns = 0
        self._same = 0

    def doubts(self, image: NDArray[np.uint8], captured_ns: int, prepared: object = None) -> tuple[str, ...]:
        """Return the names of the checks that a frame fails, in alphabetical order.

        Args:
            image: Frame `[H,W,3]` uint8 BGR.
            captured_ns: Capture time on the monotonic clock, in nanoseconds.
            prepared: The network's input for the frame, which the check `unfamiliar` compares with the calibration
                data.
        """
        height, width = image.shape[:2]
        sample = np.ascontiguousarray(image[:: max(1, height // GRID_HW[0]), :: max(1, width // GRID_HW[1])])
        found = {"frozen"} if self._is_frozen(sample, captured_ns) else set()
        grey = cv2.cvtColor(sample, cv2.COLOR_BGR2GRAY)
        ordered = np.sort(grey, axis=None, kind="stable")  # For uint8, this is a radix sort, the fastest method.
        low, high = ordered[round(0.01 * (ordered.size - 1))], ordered[round(0.99 * (ordered.size - 1))]
        if high <= DARK_LEVEL:
            found.add("dark")
        elif low >= BRIGHT_LEVEL:
            found.add("bright")
        elif _is_covered(grey):
            found.add("covered")
        elif _is_blurred(image):
            found.add("blurred")
        found &= self._checks
        # A dark or covered frame also differs from the calibration data, but one reason is enough.
        if not found - {"frozen"} and "unfamiliar" in self._checks and self._is_unfamiliar(prepared):
            found.add("unfamiliar")
        return tuple(sorted(found))

    def _is_unfamiliar(self, prepared: object) -> bool:
        if isinstance(prepared, RungInput):
            prepared = prepared.input if prepared.comparable else None
        is_image = isinstance(prepared, np.ndarray) and prepared.ndim == 3 and prepared.dtype == np.uint8
        return self._familiar is not None and is_image and self._familiar.is_far(cast("NDArray[np.uint8]", prepared))

    def _is_frozen(self, sample: NDArray[np.uint8], captured_ns: int) -> bool:
        last, self._last = self._last, sample
        if last is None or last.shape != sample.shape or not np.array_equal(last, sample):
            self._same, self._same_since_ns = 0, captured_ns
            return False
        self._same += 1
        return self._same >= FROZEN_FRAMES and captured_ns - self._same_since_ns >= FROZEN_NS


def _is_covered(grey: NDArray[np.uint8]) -> bool:
    """Return True if most blocks of the frame have no texture, for example because a finger or fog covers the lens."""
    (down, across), (rows, columns) = BLOCKS_HW, grey.shape
    if rows < down or columns < across:
        return False
    whole = grey[: rows - rows % down, : columns - columns % across].astype(np.float32)
    means, squares = (
        cv2.resize(values, (across, down), interpolation=cv2.INTER_AREA) for values in (whole, whole * whole)
    )
    return float(np.mean(squares - means * means < FLAT_DEVIATION**2)) >= FLAT_SHARE


def _is_blurred(image: NDArray[np.uint8]) -> bool:
    """Return True if no edge in the frame is sharp."""
    height, width = image.shape[:2]
    step = max(1, width // SHARP_SPAN)
    if width <= 8 * step:
        return False
    rows = image[height // (2 * LINES) :: max(1, height // LINES), ::step, 1].astype(np.int16)
    near = float(np.abs(rows[:, 1:] - rows[:, :-1]).mean())
    far = float(np.abs(rows[:, 4:] - rows[:, :-4]).mean())
    return far >= MIN_DIFFERENCE and near < SHARP_RATIO * far


def parse_guard(text: GuardLike, *, live: bool, familiarity: Familiarity | None = None) -> Guard | None:
    """Return the guard for a source, or None if its frames are not checked.

    Args:
        text: Names of checks separated by commas, True for all, False for none, or None for all if the source is live.
        live: True for a live source.
        familiarity: Statistics of the model's calibration images, or None if there are none.

    Raises:
        ConfigError: A name is unknown, or `unfamiliar` is named but there are no statistics.
    """
    if text is None:
        text = live
    if isinstance(text, bool):
        return Guard(tuple(CHECKS), familiarity) if text else None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        msg = f"guard={text!r} contains no check: choose from {', '.join(CHECKS)}"
        raise ConfigError(msg)
    for name in names:
        if name not in CHECKS:
            raise unknown_name(name, CHECKS, kind="frame check")
    if "unfamiliar" in names and familiarity is None:
        msg = (
            "the check `unfamiliar` needs one model whose bundle contains statistics of its calibration images: export "
            "the model again with calibration data, or leave the check out"
        )
        raise ConfigError(msg)
    return Guard(names, familiarity)

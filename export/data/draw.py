"""Draw the calibration and validation samples of an export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item

MIN_CALIBRATION = 8
"""Minimum number of samples from which calibration samples can be drawn."""

VALIDATION_STEP = 5
"""Step between validation samples if one data set is used for validation and calibration.

Every fifth sample is then used for validation, and the other samples are used for calibration.
"""


def divide(
    calibration: Dataset | None, validation: Dataset, *, count: int, limit: int | None, seed: int
) -> tuple[list[Item], list[Item]]:
    """Draw calibration samples and validation samples that do not overlap.

    Args:
        calibration: Data set for calibration, or None if no calibration samples are needed.
        validation: Data set for validation. It may be the same object as `calibration`.
        count: Maximum number of calibration samples.
        limit: Maximum number of validation samples, which are spread evenly. If None, all samples are used.
        seed: Random seed for drawing the calibration samples.

    Returns:
        The calibration samples and the validation samples.

    Raises:
        DataError: There are too few samples, or the calibration data has several splits but no train split.
    """
    checked = all_items(validation)
    if calibration is None:
        return [], _spread(checked, limit)
    if "train" not in calibration.splits and len(calibration.splits) > 1:
        msg = f"data set {calibration.source.name} has no train split, which calibration needs"
        raise DataError(msg)
    if "train" in calibration.splits:
        pool = [("train", index) for index in range(len(calibration.names("train")))]
    elif calibration is not validation:
        pool = all_items(calibration)
    else:
        pool = [item for index, item in enumerate(checked) if index % VALIDATION_STEP]
        checked = checked[::VALIDATION_STEP]
        _require(len(pool), f", of which {len(checked)} are kept for validation", len(checked))
    _require(len(pool))
    return balanced(calibration, pool, count, seed), _spread(checked, limit)


def all_items(dataset: Dataset) -> list[Item]:
    """Return all samples of the split that is used for validation."""
    return [(dataset.check_split, index) for index in range(len(dataset.names(dataset.check_split)))]


def _require(count: int, reserved: str = "", reserved_count: int = 0) -> None:
    if count < MIN_CALIBRATION:
        msg = (
            f"the data set has {count + reserved_count} samples{reserved}: calibration needs at least {MIN_CALIBRATION}"
        )
        raise DataError(msg)


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    count = min(len(items), limit or len(items))
    return [items[index * len(items) // count] for index in range(count)]


def balanced(dataset: Dataset, pool: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Draw up to `count` samples from `pool`, with an equal number of each class as far as possible."""
    labels = {split: dataset.labels(split) for split in {split for split, _ in pool}}
    order = np.random.default_rng(seed).permutation(len(pool)).tolist()
    queues: dict[int, list[int]] = {}
    for place in order:
        split, index = pool[place]
        queues.setdefault(labels[split][index], []).append(place)
    in_turn = [queue[place] for place in range(len(order)) for queue in queues.values() if place < len(queue)]
    return [pool[place] for place in sorted(in_turn[:count])]

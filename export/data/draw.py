"""Draw the calibration and validation samples of an export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item

MIN_CALIBRATION = 8
"""Minimum number of samples to draw calibration samples from."""

VALIDATION_STEP = 5
"""If one data set serves both purposes, every fifth of its samples is for validation, the others for calibration."""


def divide(
    calibration: Dataset | None, validation: Dataset, *, count: int, limit: int | None, seed: int
) -> tuple[list[Item], list[Item]]:
    """Draw calibration and validation samples, which never overlap.

    Args:
        calibration: Data for calibration, or None.
        validation: Data for validation; the same object if one data set serves both.
        count: Number of calibration samples.
        limit: Maximum number of validation samples, evenly spread. None takes all.
        seed: Seed of the draw.

    Returns:
        The calibration samples and the validation samples.

    Raises:
        DataError: There are too few samples, or the data set for calibration has no train split.
    """
    checked = all_items(validation)
    if calibration is None:
        return [], _spread(checked, limit)
    if "train" not in calibration.splits and len(calibration.splits) > 1:
        msg = f"calibration needs the train split of {calibration.source.name}, because the others are for validation"
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
    """Return every sample of the split that a check uses."""
    return [(dataset.check_split, index) for index in range(len(dataset.names(dataset.check_split)))]


def _require(count: int, reserved: str = "", reserved_count: int = 0) -> None:
    if count < MIN_CALIBRATION:
        msg = f"calibration set has {count + reserved_count} samples{reserved}: give {MIN_CALIBRATION} or more"
        raise DataError(msg)


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    count = min(len(items), limit or len(items))
    return [items[index * len(items) // count] for index in range(count)]


def balanced(dataset: Dataset, pool: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Draw up to `count` samples of `pool`, with equally many of each class as far as possible."""
    labels = {split: dataset.labels(split) for split in {split for split, _ in pool}}
    order = np.random.default_rng(seed).permutation(len(pool)).tolist()
    queues: dict[int, list[int]] = {}
    for place in order:
        split, index = pool[place]
        queues.setdefault(labels[split][index], []).append(place)
    in_turn = [queue[place] for place in range(len(order)) for queue in queues.values() if place < len(queue)]
    return [pool[place] for place in sorted(in_turn[:count])]

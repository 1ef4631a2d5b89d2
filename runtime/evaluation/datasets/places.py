"""Find the places at which images were taken in the images' names. Images of one place stay in one split."""

from __future__ import annotations

from collections.abc import Sequence

from orilla.devices.names import whole_number
from orilla.runtime.evaluation.datasets import tree

MIN_PLACES = 10
"""Minimum number of different places. Images of fewer places are divided by their content."""

BLOCK = 20
"""Number of successive images that count as one place if the names contain only a split and a number."""


def place_of(name: str) -> str:
    """Return the place in the name of an image, or an empty string.

    The place is the part before the last `_` or `-`, as in `100_178149`. If this part consists of a split and a number,
    as in `train_022_e1d7ad`, the images come from one recording, and 20 successive numbers are one place. Augmented
    copies of one image have the same number, so they have the same place.
    """
    rest = name[: max(name.rfind("_"), name.rfind("-"), 0)]
    split, _, number = rest.partition("_")
    if split.lower() in tree.SPLITS and whole_number(number):
        return str(int(number) // BLOCK)
    return rest


def splits_by_place(names: Sequence[str]) -> list[str] | None:
    """Return the split of each image: 80 % of the places train, 10 % val, 10 % test. A hash of the place decides.

    Args:
        names: The names of the images, without suffix.

    Returns:
        The splits, or None if the names state fewer than `MIN_PLACES` places, or none for some images.
    """
    places = [place_of(name) for name in names]
    if not all(places) or len(set(places)) < MIN_PLACES:
        return None
    return [tree.split_of(place.encode()) for place in places]

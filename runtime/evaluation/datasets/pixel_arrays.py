"""Convert arrays of images that are not RGB uint8: grey, floats, 16 bits, with alpha, or with channels first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets.arrays import ArrayFile
from orilla.runtime.evaluation.datasets.dataset import Dataset

CHANNELS = (1, 3, 4)
"""Possible numbers of channels of an image: grey, RGB, and RGB with alpha."""


def as_images(dataset: Dataset) -> Dataset:
    """Return a data set whose array `x` is converted to RGB images, for a model that takes images.

    Other data sets, and files with several arrays, are returned unchanged.

    Raises:
        DataError: The array has the shape of images, but its values are not pixel values of 0..255, 0..1 or -1..1.
    """
    if not isinstance(dataset, ArrayFile) or (x := dataset.only_array()) is None:
        return dataset
    shaped = _channels_last(x)
    if shaped is None:
        return dataset
    images, notes = _pixels(shaped[0], dataset.source.title)
    notes = shaped[1] + notes
    return dataset.with_images(_rgb(images), notes) if notes or x.shape[-1] != 3 or x.dtype != np.uint8 else dataset


def _channels_last(x: NDArray[np.generic]) -> tuple[NDArray[np.generic], list[str]] | None:
    """Return an array `[N,H,W,C]` and a note about each change.

    Return None if `x` does not have the shape of images.
    """
    if x.ndim == 3:
        return x[..., np.newaxis], []
    if x.ndim != 4:
        return None
    if x.shape[-1] in CHANNELS:
        return x, ["alpha is removed"] if x.shape[-1] == 4 else []
    return (np.moveaxis(x, 1, -1), ["the channels are moved to the end"]) if x.shape[1] in CHANNELS else None


def _pixels(x: NDArray[np.generic], name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the pixel values 0–255 and a note about each change.

    Raise `DataError` if the values of `x` are out of range.
    """
    low, high = float(x.min()), float(x.max())
    if x.dtype.kind == "b":
        return x.astype(np.uint8) * 255, ["True becomes 255"]
    if x.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(x.astype(np.float32) * 255).astype(np.uint8), [f"values of {low:g} to {high:g} times 255"]
    if x.dtype == np.uint16 and high > 255:
        return (x >> 8).astype(np.uint8), ["16 bits become 8 bits"]  # type: ignore[operator] # the type is checked
    if x.dtype.kind == "f" and low >= -1 and high <= 1:
        scaled = np.rint((x.astype(np.float32) + 1) * 127.5).astype(np.uint8)
        return scaled, [f"values of {low:g} to {high:g} plus 1, times 127.5"]
    if low < 0 or high > 255:
        msg = (
            f"x of {name} ranges from {low:g} to {high:g}, but images have pixel values of 0..255, 0..1 or -1..1: give "
            "the images as they were before the normalisation, which the export adds"
        )
        raise DataError(msg)
    if high <= 1:
        msg = f"x of {name} contains only 0 and 1 as {x.dtype}, but pixel values are 0..255: multiply it by 255"
        raise DataError(msg)
    rounded = np.rint(x.astype(np.float32)) if x.dtype.kind == "f" else x
    return rounded.astype(np.uint8), []


def _rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images `[N,H,W,3]`. Grey channels are repeated, and alpha is removed."""
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else np.ascontiguousarray(images[..., :3])

"""Convert image arrays in any common format to uint8, and label arrays to class indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError

ROUNDING = 1e-3
"""Tolerance for values that exceed their range because of rounding."""


def to_images(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return images `[N,H,W]` or `[N,H,W,3]` uint8.

    Args:
        array: Images `[N,H,W]`, `[N,H,W,1]` or `[N,H,W,3]`, the same with the channels before the height, or square
            images as rows `[N,H*H]`. The values are 0 to 255, 0 to 1, -1 to 1, or 16 bits.
        name: Name of the array, for messages.

    Raises:
        DataError: The shape or the values of the array are not supported.
    """
    if array.ndim == 2 and math.isqrt(array.shape[1]) ** 2 == array.shape[1]:
        side = math.isqrt(array.shape[1])
        array = array.reshape(len(array), side, side)
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if not len(array) or not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
        msg = (
            f"{name} has images of shape {list(array.shape)} and type {array.dtype}: expected [N,H,W] or [N,H,W,3], at "
            "least one"
        )
        raise DataError(msg)
    return _to_bytes(array, name)


def _to_bytes(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return values 0-255."""
    if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
        msg = f"{name} has images of type {array.dtype}, or NaN or infinity: expected numbers"
        raise DataError(msg)
    low, high = float(array.min()), float(array.max())
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        array = array * 255.0
    elif array.dtype == np.uint8:
        return array
    elif array.dtype == np.uint16 and high > 255:
        array = array >> 8
    elif array.dtype.kind == "f" and -1 - ROUNDING <= low < 0 and high <= 1 + ROUNDING:
        array = (array + 1.0) * 127.5
    elif not (low >= 0 and high <= 255):
        msg = f"{name} has values from {low:.6g} to {high:.6g}: expected 0 to 255, 0 to 1, or -1 to 1"
        raise DataError(msg)
    pixels: NDArray[np.uint8] = np.clip(np.rint(array), 0, 255).astype(np.uint8)
    return pixels


def to_labels(array: NDArray[Any], count: int, name: str) -> NDArray[np.int64]:
    """Return the class indices `[N]`.

    Args:
        array: Class indices `[N]` or `[N,1]`, or one-hot vectors `[N,C]`.
        count: Number of images.
        name: Name of the array, for messages.

    Raises:
        DataError: The length of the array differs from `count`, or its values are not classes.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and array.dtype.kind in "iufb" and _is_one_hot(array):
        array = array.argmax(axis=1)
    is_whole = array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool((array == np.rint(array)).all()))
    if array.shape != (count,) or not is_whole or int(array.min(initial=0)) < 0:
        msg = (
            f"{name} has labels of shape {list(array.shape)} and type {array.dtype} for {count} images: expected class "
            "numbers [N], or one-hot vectors [N,C]"
        )
        raise DataError(msg)
    return array.astype(np.int64)


def _is_one_hot(array: NDArray[Any]) -> bool:
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())

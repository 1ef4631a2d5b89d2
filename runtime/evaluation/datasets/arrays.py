"""Data set of arrays in a `.npz` file. `x` has one sample per row, and the optional `y` contains the ground truth.

If `x` is uint8 and has three channels, it contains RGB images, and `y` contains class indices of the model, or masks.
Other files contain inputs for a model that takes arrays: `x`, or several arrays that have the names of the model's
inputs. For a model that takes images, `pixel_arrays` converts other forms of `x` into RGB images.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import npz
from orilla.runtime.evaluation.datasets.dataset import (
    ArraySample,
    ClassifiedImage,
    LabelledImage,
    NumberedDataset,
    Sample,
    require_split,
)

SPLIT = "all"

TRUTHS = ("y", "labels", "label", "targets", "target")
"""Names of the array with the ground truth, in lower case."""


class ArrayFile(NumberedDataset):
    """A `.npz` file, which stays in memory."""

    def __init__(
        self,
        path: Path,
        inputs: dict[str, NDArray[np.generic]],
        y: NDArray[np.generic] | None,
        notes: Sequence[str] = (),
    ) -> None:
        self._path, self._inputs, self._y, self._notes = path, inputs, y, tuple(notes)
        self._has_images = _are_images(inputs)
        self.source = Source(path.stem, path.name, "not stated")
        self.has_labels = y is not None
        self._has_masks = self._has_images and y is not None and y.ndim == 3
        self._has_numbers = y is not None and y.ndim == 1 and y.dtype.kind in "iu"
        self.task = self._task()
        self.classes = ("background", "mask") if self._has_masks else ()
        count = len(next(iter(inputs.values())))
        super().__init__({SPLIT: y.tolist() if self._has_numbers and y is not None else [0] * count})

    def _task(self) -> str:
        if self._has_masks:
            return "segment"
        return "classify" if self._has_numbers or (self._has_images and self._y is None) else "tensor"

    def only_array(self) -> NDArray[np.generic] | None:
        """Return the input array, or None if there are several."""
        return next(iter(self._inputs.values())) if len(self._inputs) == 1 else None

    def with_images(self, images: NDArray[np.uint8], notes: Sequence[str]) -> ArrayFile:
        """Return a copy with RGB images `[N,H,W,3]` instead of the input array.

        Args:
            images: The images.
            notes: Differences between the images and the array, with one line for each.

        Raises:
            DataError: The ground truth is neither class indices nor masks.
        """
        _check_truths(self._path, self._y)
        return ArrayFile(self._path, {next(iter(self._inputs)): images}, self._y, notes)

    def notes(self) -> list[str]:
        """Return a note about each difference between the images and the arrays in the file."""
        return list(self._notes)

    def load(self, split: str, index: int) -> Sample:
        """Load one sample."""
        require_split(self, split)
        truth = None if self._y is None else self._y[index]
        if not self._has_images:
            arrays = {name: array[index] for name, array in self._inputs.items()}
            if self._has_numbers and truth is not None:
                return ArraySample(str(index), arrays, int(truth))
            return ArraySample(str(index), arrays, truth)
        image = np.ascontiguousarray(next(iter(self._inputs.values()))[index][..., ::-1])
        if self._has_masks and truth is not None:
            return LabelledImage(str(index), image, (truth > 0).astype(np.uint8))
        return ClassifiedImage(str(index), image, -1 if truth is None else int(truth))

    def content(self, split: str, index: int) -> bytes:
        """Return the name, shape, type and values of each array of a sample."""
        parts = ((name, array[index]) for name, array in self._inputs.items())
        return b"".join(f"{name} {array.shape} {array.dtype.str} ".encode() + array.tobytes() for name, array in parts)

    def truth(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's ground truth."""
        return b"" if self._y is None else self._y[index].tobytes()

    def is_file(self, split: str, index: int) -> bool:
        """Return False, because the samples are in memory."""
        return False


def recognise(path: Path) -> bool:
    """Return True for any `.npz` file. More specific readers are tried before this one."""
    return path.suffix == ".npz" and path.is_file() and zipfile.is_zipfile(path)


def open_dataset(path: Path) -> ArrayFile:
    """Read the file.

    Raises:
        DataError: The file is damaged or not a `.npz`, it contains no arrays or arrays of different lengths, or a value
            is NaN or infinite.
    """
    arrays = npz.read_arrays(path)
    # Arrays of strings, such as the names of the classes, are not inputs.
    inputs = {name: array for name, array in arrays.items() if array.dtype.kind not in "US" or name in ("x", "y")}
    y = _truths(path, inputs.pop(_name_of_truths(inputs), None))
    _check_lengths(path, inputs, y)
    if _are_images(inputs):
        _check_truths(path, y)
    for name, array in inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            msg = f"{path.name}: {name} contains NaN or infinity"
            raise DataError(msg)
    return ArrayFile(path, inputs, y)


def _name_of_truths(inputs: dict[str, NDArray[np.generic]]) -> str:
    """Return the name of the array with the ground truth: `y`, or a common name next to a single array of inputs."""
    named = next((name for name in inputs if name.lower() in TRUTHS), "y")
    return named if "y" not in inputs and len(inputs) == len((named, "x")) else "y"


def _check_truths(path: Path, y: NDArray[np.generic] | None) -> None:
    """Raise `DataError` if the ground truth is neither class indices nor masks."""
    if y is not None and not (y.dtype.kind in "iu" and y.ndim in (1, 3)):
        msg = (
            f"{path.name}: y has shape {list(y.shape)} and type {y.dtype}: for images give class indices [N] or masks "
            "[N,H,W]"
        )
        raise DataError(msg)


def _check_lengths(path: Path, inputs: dict[str, NDArray[np.generic]], y: NDArray[np.generic] | None) -> None:
    """Raise `DataError` unless all arrays have the same number of rows, which must be at least one."""
    lengths = {name: len(array) if array.ndim else 0 for name, array in inputs.items()}
    if not inputs or not min(lengths.values()):
        msg = f"{path.name} contains no samples: give an array x with one sample per row"
        raise DataError(msg)
    lengths |= {} if y is None else {"y": len(y)}
    if len(set(lengths.values())) > 1:
        summary = ", ".join(f"{name} {length}" for name, length in lengths.items())
        msg = f"{path.name}: the arrays have different lengths ({summary})"
        raise DataError(msg)


def _truths(path: Path, y: NDArray[np.generic] | None) -> NDArray[np.generic] | None:
    """Return the ground truth. Class indices get the shape `[N]`.

    Raises:
        DataError: `y` is not numeric, or does not have one row per sample.
    """
    if y is None:
        return None
    if y.ndim == 0 or y.dtype.kind not in "iufb" or (y.dtype.kind == "f" and not np.isfinite(y).all()):
        msg = f"{path.name}: y has shape {list(y.shape)} and type {y.dtype}: give numbers, one row per sample"
        raise DataError(msg)
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind in "iu" else y


def _are_images(inputs: dict[str, NDArray[np.generic]]) -> bool:
    x = next(iter(inputs.values()))
    return len(inputs) == 1 and x.dtype == np.uint8 and x.ndim == 4 and x.shape[-1] == 3

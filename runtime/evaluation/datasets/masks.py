"""Data set of images with masks, in the folders `images/` and `masks/`, with or without split folders.

If there is no `classes.txt`, a mask marks one class, the road: 0 is the background, and 255 (or 1) is the road.
`classes.txt` has one class name per line. The values of a mask are then line numbers, counted from 0, and 255 is
ignored.

If each name is followed by three numbers, as in `road 128 64 128`, masks are colour images, and the numbers are the
colours of the classes as red, green and blue. Pixels of a class named `void`, `ignore` or `unlabelled` are ignored.
"""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, MissingExtraError
from orilla.devices.text_files import lines_of
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import mask_colours, tree
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.evaluation.datasets.pairs import Pairs, PairsBySplit, pair_up
from orilla.runtime.preprocessing.image_orientation import orientation_of, turned

COLOUR_TYPE, PALETTE = 25, 3
"""Offset of the colour type in a PNG, and its value for a palette. Source: PNG specification, IHDR."""

BINARY = ("background", "road")


class Masks(Pairs):
    """Pairs of an image and a mask of the same stem."""

    def __init__(self, top: tree.Folder, path: Path) -> None:
        self._top = top
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and masks in {name}/", "not stated")
        names = top / "classes.txt"
        self._binary = not names.is_file()
        lines = () if self._binary else _lines(tree.read(names))
        self._palette = mask_colours.palette(lines)
        if self._palette is not None:
            self.classes = self._palette.classes
        else:
            self.classes = BINARY if self._binary else lines

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the label image of each sample, by split."""
        parents = tree.split_folders(self._top)
        pairs: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {}
        for split, parent in parents.items() or [("", self._top)]:
            if not (parent / "images").is_dir():
                msg = (
                    f"{parent.name}/ has no images/, but other splits have images/ and masks/: add both, or move "
                    f"{parent.name}/"
                )
                raise DataError(msg)
            for image, mask in pair_up(parent / "images", parent / "masks"):
                pairs.setdefault(split or tree.split_of(tree.read(image)), []).append((image, mask))
        return {split: pairs[split] for split in SPLITS if split in pairs}

    def read_labels(self, path: tree.Folder) -> NDArray[np.uint8]:
        """Return the values `[H,W]` of a label image."""
        mask = super().read_labels(path)
        if self._palette is not None:
            return self._palette.labels(mask, path.name, self.ignore)
        return self._flat(mask, path) if mask.ndim == 3 else mask

    def _flat(self, colours: NDArray[np.uint8], path: tree.Folder) -> NDArray[np.uint8]:
        """Return one value for each pixel of a colour mask.

        If the mask has a palette, as in Pascal VOC, the palette indices are the classes. A black and white mask of one
        class is read by its colours, because programs order the palette differently.
        """
        grey = all(np.array_equal(colours[..., 0], colours[..., channel]) for channel in (1, 2))
        if grey and self._binary:
            return colours[..., 0]
        flat = _indices(path, colours)
        return flat[..., 0] if grey and flat.ndim == 3 else flat

    def classes_of(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Convert the values of a label image into classes."""
        values = set(np.unique(labels).tolist())
        if self._binary:
            if not (values <= {0, 255} or values <= {0, 1}):
                value = sorted(values - {0, 255})[0]
                msg = (
                    f"value {value} in mask {name}: without classes.txt, masks have 0 and 255, or 0 and 1{_lossy(name)}"
                )
                raise DataError(msg)
            return (labels > 0).astype(np.uint8)
        odd_values = sorted(values - set(range(len(self.classes))) - {self.ignore})
        if odd_values:
            msg = (
                f"value {odd_values[0]} in mask {name}: classes.txt names classes 0 to {len(self.classes) - 1}, "
                f"and 255 is ignored{_lossy(name)}"
            )
            raise DataError(msg)
        return labels.astype(np.uint8)


def _lossy(name: str) -> str:
    """Return an explanation of a wrong value if the mask is a JPEG, else an empty string."""
    return "; JPEG changes values, so store masks as PNG" if name.lower().endswith((".jpg", ".jpeg")) else ""


def _indices(path: tree.Folder, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the palette indices of a PNG, or `colours` for other images.

    OpenCV decodes palette indices into colours.
    """
    data = tree.read(path)
    if not (data.startswith(b"\x89PNG") and data[COLOUR_TYPE] == PALETTE):
        return colours
    try:
        from PIL import Image
    except ImportError as error:
        msg = "pillow"
        raise MissingExtraError(msg, "train") from error
    with tree.errors_of(path), Image.open(io.BytesIO(data)) as image:
        return np.asarray(turned(np.asarray(image, np.uint8), orientation_of(data)))


def _lines(data: bytes) -> tuple[str, ...]:
    names = tuple(lines_of(tree.decode_text(data, "classes.txt")))
    if not names or not all(names):
        msg = "classes.txt has an empty line or no lines: give one class name per line; the first line names class 0"
        raise DataError(msg)
    return names


def recognise(path: Path) -> bool:
    """Return True for a folder or zip with `images/` and `masks/`, with or without splits."""
    return _top(path) is not None


def open_dataset(path: Path) -> Masks:
    """Open the images and masks in a folder or zip. They may lie inside another folder."""
    top = tree.required(_top(path), path, "has no images/ and masks/ folders")
    return Masks(top, path)


def _top(path: Path) -> tree.Folder | None:
    return next((candidate for candidate in tree.candidates(path) if _has_pairs(candidate)), None)


def _has_pairs(folder: tree.Folder) -> bool:
    """Return True if a folder, or one of its splits, has images and masks.

    A split without them is reported when the samples are listed.
    """
    parents = list(tree.split_folders(folder).values()) or [folder]
    return any((parent / "images").is_dir() and (parent / "masks").is_dir() for parent in parents)

"""Masks whose colours represent classes.

Each line of the list of classes states a class and its colour, as in `road 128 64 128`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError

LINE = re.compile(r"(.*[^\s,;])[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})")
"""Pattern of a line with a class name and its colour: red, green and blue, 0-255."""

IGNORED = ("void", "_void_", "__ignore__", "ignore", "ignored", "unlabelled", "unlabeled")
"""Names of classes whose pixels are ignored, in lower case."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of the classes of a data set."""

    classes: tuple[str, ...]
    """Names of the classes that are not ignored."""
    codes: NDArray[np.int64]
    """Colours as `red * 65536 + green * 256 + blue`, in ascending order."""
    numbers: NDArray[np.int64]
    """Class index of each colour, or -1 if its pixels are ignored."""
    file: str
    """Name of the file that lists the colours, for messages."""

    def is_index(self, mask: NDArray[np.uint8]) -> bool:
        """Return True if the values of a grey mask are not colours in the list, but indices of its classes."""
        if mask.ndim != 2:
            return False
        greys = self.codes[self.codes % 0x10101 == 0] // 0x10101
        return not np.isin(mask, greys).all() and int(mask.max()) < len(self.codes)

    def labels(self, mask: NDArray[np.uint8], name: str, ignore: int) -> NDArray[np.uint8]:
        """Return the class of each pixel of a mask, `[H,W]`.

        Args:
            mask: The mask, `[H,W,3]` or `[H,W,4]` BGR, or grey `[H,W]`.
            name: Name of its file, for messages.
            ignore: The label of pixels that are ignored.

        Raises:
            DataError: A colour is not in the list.
        """
        colours = (np.repeat(mask[..., None], 3, axis=2) if mask.ndim == 2 else mask[..., :3]).astype(np.int64)
        codes = colours @ np.array([1, 256, 65536])
        places = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        unknown = self.codes[places] != codes
        if unknown.any():
            blue, green, red = colours[unknown][0]
            lossy = "; JPEG changes colours, so store masks as PNG" if name.lower().endswith((".jpg", ".jpeg")) else ""
            msg = f"colour {red} {green} {blue} (R G B) in mask {name} is not in {self.file}: add it{lossy}"
            raise DataError(msg)
        found = self.numbers[places]
        return np.where(found < 0, ignore, found).astype(np.uint8)


def palette(lines: Sequence[str], file: str) -> Palette | None:
    """Return the colours in the lines of a class list, or None if no line states a colour.

    Several colours may belong to one class.

    Raises:
        DataError: Only some lines state a colour, a colour is out of range, or a colour occurs twice.
    """
    found = [LINE.fullmatch(line) for line in lines]
    rows = [(match[1], tuple(int(match[group]) for group in (2, 3, 4))) for match in found if match is not None]
    if not rows:
        return None
    if len(rows) < len(lines):
        line = next(line for line, match in zip(lines, found, strict=True) if match is None)
        msg = f"{file}: the line {line!r} states no colour, but other lines do: add red, green and blue"
        raise DataError(msg)
    for name, colour in rows:
        if max(colour) > 255 or sum(other == colour for _, other in rows) > 1:
            problem = "is above 255" if max(colour) > 255 else "occurs twice"
            msg = f"{file}: the colour {' '.join(map(str, colour))} of {name} {problem}: correct it"
            raise DataError(msg)
    classes = tuple(dict.fromkeys(name for name, _ in rows if name.lower() not in IGNORED))
    if not classes:
        msg = f"{file} lists only ignored classes: add the classes that a model should find"
        raise DataError(msg)
    numbers = [classes.index(name) if name in classes else -1 for name, _ in rows]
    codes = np.array([colour for _, colour in rows], np.int64) @ np.array([65536, 256, 1])
    order = np.argsort(codes)
    return Palette(classes, codes[order], np.array(numbers, np.int64)[order], file)

"""Read the class list of a data set with masks, in the usual formats.

Supported formats: one name per line, whose line number is the value in a mask (`classes.txt`, `codes.txt`); `name r g
b` and `name,r,g,b` (`class_dict.csv`); `r g b name` (`label_colors.txt`); CVAT's `labelmap.txt` (`name:r,g,b::`);
`value,name` (Roboflow's `_classes.csv`); and `classes.json` with the title and colour of each class (Supervisely).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.text_files import lines_of
from orilla.runtime.evaluation.datasets import mask_colours, tree
from orilla.runtime.evaluation.datasets.mask_colours import IGNORED, Palette

FILES = (
    *("classes.txt", "codes.txt", "class_dict.csv", "class_dict_seg.csv", "label_colors.txt", "labelmap.txt"),
    *("_classes.csv", "classes.csv", "class_names.txt", "labels.txt", "label_colours.txt", "classes.json"),
)
"""Names of files that list classes."""

CVAT = re.compile(r"([^:]+):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*:[^:]*:.*")
"""Pattern for a line in CVAT's label map."""

COLOUR_FIRST = re.compile(r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\S.*)")
"""Pattern of a line with a colour and a name, as in CamVid's `label_colors.txt`."""

NUMBERED = re.compile(r"(\d{1,3})\s*[,;:\t ]\s*(\S.*)")
"""Pattern of a line with the value of a class and its name."""

IGNORED_VALUE, UNKNOWN_VALUE = -1, -2
"""Entries of `ClassList.values` for values whose pixels are ignored, and for values without a class."""

LOSSY = "; JPEG changes values, so store masks as PNG"


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes of masks, and the pixel values or colours that represent them."""

    classes: tuple[str, ...]
    """Names of the classes that are not ignored."""
    file: str
    """Name of the class list's file, for messages."""
    values: NDArray[np.int16]
    """Class index of each value 0-255, or `IGNORED_VALUE` or `UNKNOWN_VALUE`."""
    palette: Palette | None = None
    """Colours of the classes, if masks are colour images."""

    def labels(self, mask: NDArray[np.uint8], name: str, ignore: int) -> NDArray[np.uint8]:
        """Return the class of each pixel of a mask `[H,W]` of values, or `ignore` for pixels that are ignored.

        Raises:
            DataError: A value has no class.
        """
        if mask.max(initial=0) > 255:
            msg = f"value {int(mask.max())} in mask {name}: masks have 8-bit values"
            raise DataError(msg)
        found = self.values[mask]
        unknown = mask[(found == UNKNOWN_VALUE) & (mask != ignore)]
        if unknown.size:
            top = int(np.flatnonzero(self.values != UNKNOWN_VALUE)[-1])
            msg = (
                f"value {int(unknown.min())} in mask {name}: {self.file} names classes 0 to {top}, and {ignore} is "
                f"ignored{LOSSY if name.lower().endswith(('.jpg', '.jpeg')) else ''}"
            )
            raise DataError(msg)
        return np.where(found < 0, ignore, found).astype(np.uint8)


class _Class(msgspec.Struct):
    """A class in a Supervisely document."""

    title: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^\S")]
    color: Annotated[str, msgspec.Meta(pattern="^#[0-9A-Fa-f]{6}$")]


class _Document(msgspec.Struct):
    classes: list[_Class]


def list_file(folders: Sequence[tree.Folder]) -> tree.Folder | None:
    """Return the first file with a list of classes in some folders, or None."""
    return next((file for folder in folders for name in FILES if (file := folder / name).is_file()), None)


def read_class_list(file: tree.Folder) -> ClassList:
    """Read a list of classes. Raise `DataError` if it is not text, or its format is unknown."""
    return parse_class_list(tree.decode_text(tree.read(file), file.name), file.name)


def parse_class_list(text: str, file: str) -> ClassList:
    """Return the classes in the text of a list. `file` is its name. Raises `DataError` if the list is invalid."""
    lines = _of_json(text, file) if file.endswith(".json") else lines_of(text)
    if file.endswith("labelmap.txt") or (lines and all(CVAT.fullmatch(line) or line.startswith("#") for line in lines)):
        lines = [line for line in lines if line and not line.startswith("#")]
        lines = [" ".join(match.groups()) if (match := CVAT.fullmatch(line)) else line for line in lines]
    lines = _without_heading(lines)
    if lines and all(COLOUR_FIRST.fullmatch(line) and not mask_colours.LINE.fullmatch(line) for line in lines):
        lines = [COLOUR_FIRST.sub(r"\4 \1 \2 \3", line) for line in lines]
    colours = mask_colours.palette(lines, file)
    if colours is not None:
        names = [match[1] for line in lines if (match := mask_colours.LINE.fullmatch(line))]
        index = {name: number for number, name in enumerate(colours.classes)}
        values = _values([index.get(name, IGNORED_VALUE) for name in names], range(len(names)))
        return ClassList(colours.classes, file, values, colours)
    numbered = [match for line in lines if (match := NUMBERED.fullmatch(line))]
    if lines and len(numbered) == len(lines):
        return _of_values([(int(match[1]), match[2].strip()) for match in numbered], file)
    if not lines or not all(lines):
        problem = f"an empty line {lines.index('') + 1}" if lines else "no lines"
        msg = f"{file} has {problem}: give one class name per line; the first line names class 0"
        raise DataError(msg)
    return _of_values(list(enumerate(lines)), file)


def _of_json(text: str, file: str) -> list[str]:
    """Return a line with the name and the colour of each class in a Supervisely document."""
    try:
        listed = msgspec.json.decode(text, type=_Document)
    except msgspec.MsgspecError as error:
        msg = f"{file} does not list classes, each with a title and a color such as #3C1098: {error}"
        raise DataError(msg) from error
    return [f"{one.title} {' '.join(map(str, bytes.fromhex(one.color[1:])))}" for one in listed.classes]


def _without_heading(lines: list[str]) -> list[str]:
    """Remove the first line if it names the columns of a table."""
    if len(lines) < 2 or not re.search(r"[,;\t]", lines[0]) or re.search(r"\d", lines[0]):
        return lines
    patterns = (mask_colours.LINE, COLOUR_FIRST, NUMBERED)
    return lines[1:] if any(all(pattern.fullmatch(line) for line in lines[1:]) for pattern in patterns) else lines


def _of_values(pairs: Sequence[tuple[int, str]], file: str) -> ClassList:
    """Return the classes for pairs of a value and a name. Classes with names such as `void` are ignored."""
    numbers = [number for number, _ in pairs]
    if max(numbers) > 255 or len(set(numbers)) < len(numbers):
        problem = "a value above 255" if max(numbers) > 255 else "a value twice"
        msg = f"{file} has {problem}: masks have 8-bit values, and each value has one class"
        raise DataError(msg)
    classes = tuple(dict.fromkeys(name for _, name in sorted(pairs) if name.lower() not in IGNORED))
    if not classes:
        msg = f"{file} lists only ignored classes: add the classes that a model should find"
        raise DataError(msg)
    index = {name: number for number, name in enumerate(classes)}
    return ClassList(classes, file, _values([index.get(name, IGNORED_VALUE) for _, name in pairs], numbers))


def _values(indices: Sequence[int], numbers: Sequence[int]) -> NDArray[np.int16]:
    """Return the class index of each value. `numbers` contains the value of each class."""
    values = np.full(256, UNKNOWN_VALUE, np.int16)
    for index, number in zip(indices, numbers, strict=True):
        if number < len(values):
            values[number] = index
    return values

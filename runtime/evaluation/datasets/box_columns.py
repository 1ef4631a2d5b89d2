"""Find the columns of a table that contain the edges of boxes, and read the boxes.

A table states a box as its four edges, as its left and top edge with its width and height, as its centre with its width
and height, or as a list of four numbers in one column, such as `bbox`. That list is read as left, top, width and
height, as COCO and most tables on Kaggle state it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets.boxed import Box
from orilla.runtime.evaluation.datasets.delimited import Table


def _from_edges(left: float, top: float, right: float, bottom: float) -> Box:
    return left, top, right, bottom


def _from_corner(left: float, top: float, width: float, height: float) -> Box:
    return left, top, left + width, top + height


def _from_centre(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


WIDTHS, HEIGHTS = ("w", "box_width", "bbox_width", "width"), ("h", "box_height", "bbox_height", "height")

FORMS: tuple[tuple[tuple[tuple[str, ...], ...], Callable[[float, float, float, float], Box]], ...] = (
    (
        (
            ("xmin", "x_min", "x1", "left"),
            ("ymin", "y_min", "y1", "top"),
            ("xmax", "x_max", "x2", "right"),
            ("ymax", "y_max", "y2", "bottom"),
        ),
        _from_edges,
    ),
    (
        (("xmin", "x_min", "left", "x", "bbox_x"), ("ymin", "y_min", "top", "y", "bbox_y"), WIDTHS, HEIGHTS),
        _from_corner,
    ),
    (
        (("x_center", "xcenter", "x_centre", "cx"), ("y_center", "ycenter", "y_centre", "cy"), WIDTHS, HEIGHTS),
        _from_centre,
    ),
)
"""Names of the four columns in lower case, and the function that converts their numbers to edges, for each form."""

LISTS = ("bbox", "box", "bounding_box", "boundingbox")
"""Names of columns that contain four numbers, in lower case."""

LIST = re.compile(r"[\s\[\](){},;]+")
"""Pattern of the characters between the numbers of a list."""


class BoxColumns(NamedTuple):
    """The columns that contain boxes."""

    places: tuple[int, ...]
    """Indices of the four columns, or of the column with lists."""
    to_edges: Callable[[float, float, float, float], Box]

    def has_box(self, fields: Sequence[str]) -> bool:
        """Return True if a row contains a box."""
        return any(fields[at].strip().strip("[]") for at in self.places)

    def box(self, fields: Sequence[str], where: str) -> Box:
        """Return the box of a row. Raise `DataError` if it is not four numbers. `where` is the file and the line."""
        texts = [fields[at] for at in self.places]
        if len(texts) == 1:
            texts = LIST.sub(" ", texts[0]).split()
        try:
            left, top, width, height = map(float, texts)
        except ValueError as error:
            msg = f"{where}: the edges of the box are not four numbers: {readable(' '.join(texts))[:80]!r}"
            raise DataError(msg) from error
        return self.to_edges(left, top, width, height)


def box_columns(table: Table) -> BoxColumns | None:
    """Return the columns that contain boxes, or None."""
    for names, to_edges in FORMS:
        found = [next((at for name in one if (at := table.column(name)) is not None), None) for one in names]
        places = tuple(at for at in found if at is not None)
        if len(places) == len(names):
            return BoxColumns(places, to_edges)
    at = next((at for name in LISTS if (at := table.column(name)) is not None), None)
    return None if at is None else BoxColumns((at,), _from_corner)

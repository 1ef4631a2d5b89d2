"""The results of a segmentation. The network's grids are resized to masks that have the size of the frame."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, TypeVar, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import unknown_name
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.placement import Placement, grid_to_frame
from orilla.runtime.tasks.corridor import ROWS, TRAPEZOID, Corridor, area_ahead, corridor
from orilla.runtime.tasks.documents import AreaDocument, ClassesDocument, MaskDocument
from orilla.runtime.tasks.drawing import TINT, draw_mask, palette, tint
from orilla.runtime.tasks.task import Image, Measure

OUTSIDE = 255
"""Class index of pixels that are not in the network's input, because they lie outside the crop."""

MAX_CLASSES = 255
"""Maximum number of classes. Class indices and `OUTSIDE` together then fit into uint8."""

CAPTION_CLASSES = 4
"""Maximum number of classes that the caption of an answer lists."""

FOUND_BGR, WRONG_BGR, MISSED_BGR = (70, 190, 40), (40, 40, 230), (240, 90, 40)
"""Colours of pixels that the model found correctly, found wrongly, or missed."""

Mask = NDArray[np.bool_]
Cell = TypeVar("Cell", bound=np.generic)


class Drivable:
    """Methods for a robot that may drive where a mask is True."""

    def mask(self, label: str | None = None) -> Mask:
        """Return the pixels of a class, `[H,W]` bool."""
        raise NotImplementedError

    def corridor(self, label: str | None = None) -> Corridor | None:
        """Return the free corridor ahead, or None if the mask does not reach the lowest rows of the frame.

        Args:
            label: Name of the class on which the robot may drive. Optional if there is only one class.

        Raises:
            ConfigError: The model has no class of this name.
        """
        return corridor(self.mask(label))

    def steer(self, label: str | None = None, *, rows: tuple[float, float] = ROWS) -> float | None:
        """Return the direction to the middle of the corridor, from -1 (left edge) to 1 (right edge), or None.

        Args:
            label: Name of the class on which the robot may drive. Optional if there is only one class.
            rows: Upper and lower limit of the rows that are used, as shares of the frame's height.
        """
        found = self.corridor(label)
        return None if found is None else found.steer(rows)

    def area_ahead(self, label: str | None = None, *, corners: tuple[tuple[float, float], ...] = TRAPEZOID) -> float:
        """Return the share of an area ahead of the robot that belongs to the class, 0–1.

        Args:
            label: Name of the class on which the robot may drive. Optional if there is only one class.
            corners: Corners of the area as shares of the frame's width and height.
        """
        return area_ahead(self.mask(label), corners)


@runtime_checkable
class ComparesPixels(Protocol):
    """An answer that draws itself together with its mistakes."""

    def draw_compared(self, image: Image, labels: NDArray[np.integer], classes: Sequence[str], ignore: int) -> None:
        """Draw the answer and its mistakes. See `Segmentation.draw_compared`."""


class Segmentation(msgspec.Struct, Drivable, frozen=True, eq=False, dict=True):
    """The pixels of a frame that belong to one class."""

    probability: NDArray[np.float32]
    """Probability of each cell of the network's grid, `[h,w]` float32, 0–1. It is a copy, not a view of the engine's
    memory."""
    placement: Placement
    """Position and size of the frame in the network's input."""
    label: str
    threshold: float
    """A pixel belongs to the class if its probability is at least this value."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the name of the class."""
        return (self.label,)

    def mask(self, label: str | None = None) -> Mask:
        """Return the mask `[H,W]` bool: True where the interpolated probability is at least `threshold`.

        The mask is computed at the first call and is read-only. Its memory is reused only when nothing refers to the
        mask or to a view of it.

        Args:
            label: Name of the class. It may be None, because there is only one class.

        Raises:
            ConfigError: The model has no class of this name.
        """
        if label not in (None, self.label):
            raise unknown_name(str(label), self.labels, kind="class of the model")
        return self._mask

    @cached_property
    def _mask(self) -> Mask:
        height, width = self.placement.frame_hw
        mask = _BUFFERS.masks.take((height, width)).view(np.bool_)
        probability = grid_to_frame(self.probability, self.placement, _BUFFERS.scratch(height, width))
        np.greater_equal(probability, self.threshold, out=mask)
        mask.setflags(write=False)
        return mask

    @property
    def resized(self) -> NDArray[np.float32]:
        """Return the probability of each pixel of the frame, `[H,W]` float32, 0–1. Each call interpolates it again."""
        return grid_to_frame(self.probability, self.placement)

    @property
    def box_xyxy(self) -> tuple[int, int, int, int] | None:
        """Return the bounding box of the class: left, top, right and bottom edge in the frame, in pixels.

        Right and bottom are exclusive. Return None if the class is not in the frame.
        """
        inside = self._inside
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return None
        (height, width), (down, across) = self.placement.input_hw, inside.shape
        corners = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]]) * (width / across, height / down)
        (left, top), (right, bottom) = self.placement.to_frame(corners).round(6)
        frame_height, frame_width = self.placement.frame_hw
        return (
            max(0, int(np.floor(left))),
            max(0, int(np.floor(top))),
            min(frame_width, int(np.ceil(right))),
            min(frame_height, int(np.ceil(bottom))),
        )

    def boxes_xyxy(self) -> list[tuple[int, int, int, int]]:
        """Return the bounding box of the class, or no box if the class is not in the frame."""
        return [] if (box := self.box_xyxy) is None else [box]

    @cached_property
    def fraction(self) -> float:
        """Return the share of the frame (0–1) that the class covers, at the resolution of the network's output."""
        visible = visible_cells(self._inside, self.placement)
        return float(np.count_nonzero(visible)) / visible.size

    @property
    def centre_xy(self) -> tuple[float, float] | None:
        """Return the centre of the class as shares of the frame's width and height, or None if there is no pixel."""
        return self._place[0]

    @property
    def top_y(self) -> float | None:
        """Return the topmost row of the class as a share of the frame's height, or None if there is no pixel."""
        return self._place[1]

    def to_dict(self) -> MaskDocument:
        """Return the result as a JSON document."""
        area = _area(self.label, self.fraction, visible_cells(self._inside, self.placement))
        return {"task": "segment", **area}

    def caption(self) -> list[str]:
        """Return the share of the frame that belongs to the class, in per cent."""
        return [f"{self.label} {100 * self.fraction:.0f} %"]

    def measures(self) -> list[Measure]:
        """Return the share of the frame that belongs to the class."""
        return [Measure("fraction", self.label, self.fraction)]

    def state(self) -> object:
        """Return the share of the frame that belongs to the class, in whole per cent."""
        return round(100 * self.fraction)

    def draw(self, image: Image) -> list[str]:
        """Tint the mask and draw its outline. Return the caption."""
        draw_mask(image, self.mask(), TINT)
        return self.caption()

    @cached_property
    def _place(self) -> tuple[tuple[float, float] | None, float | None]:
        return _place_of(visible_cells(self._inside, self.placement))

    def draw_compared(self, image: Image, labels: NDArray[np.integer], classes: Sequence[str], ignore: int) -> None:
        """Tint correctly found pixels green, wrongly found pixels red, and missed pixels blue.

        Args:
            image: Image `[H,W,3]` uint8 in BGR order. It is changed.
            labels: True class index of each pixel, `[H,W]`.
            classes: Names of the class indices.
            ignore: Value of pixels without a label. They are not tinted.
        """
        found, true = self.mask() & (labels != ignore), labels == classes.index(self.label)
        for pixels, color_bgr in ((found & true, FOUND_BGR), (found & ~true, WRONG_BGR), (~found & true, MISSED_BGR)):
            tint(image, pixels, color_bgr)

    @property
    def _inside(self) -> Mask:
        inside: Mask = self.probability >= self.threshold
        return inside


class ClassSegmentation(msgspec.Struct, Drivable, frozen=True, eq=False, dict=True):
    """The class of each pixel of a frame."""

    labels: tuple[str, ...]
    grid: NDArray[np.float32]
    """Scores of the classes, `[h,w,C]`, or class indices, `[h,w]`, for each cell of the network's grid. The array is a
    copy, not a view of the engine's memory."""
    placement: Placement
    """Position and size of the frame in the network's input."""

    @cached_property
    def classes(self) -> NDArray[np.uint8]:
        """Return the class index or `OUTSIDE` of each pixel, `[H,W]` uint8. Scores are interpolated bilinearly."""
        classes = _nearest(self.grid, self.placement) if self.grid.ndim == 2 else self._best()
        left, top, right, bottom = (round(edge) for edge in self.placement.visible_frame_xyxy)
        if not self.placement.shows_whole_frame:
            outside = np.ones(classes.shape, np.bool_)
            outside[top:bottom, left:right] = False
            classes[outside] = OUTSIDE
        classes.setflags(write=False)
        return classes

    def mask(self, label: str | None = None) -> Mask:
        """Return the pixels of a class, `[H,W]` bool.

        Args:
            label: Name of the class. It is required, because the model has several classes.

        Raises:
            ConfigError: The model has no class of this name.
        """
        if label not in self.labels:
            raise unknown_name(str(label), self.labels, kind="class of the model")
        mask: Mask = self.classes == self.labels.index(label)
        return mask

    @cached_property
    def fractions(self) -> dict[str, float]:
        """Return the share of the frame (0–1) that each class covers, at the resolution of the network's output."""
        cells = visible_cells(self._cells, self.placement)
        counts = np.bincount(cells.ravel(), minlength=len(self.labels))
        return {label: float(count) / cells.size for label, count in zip(self.labels, counts, strict=False)}

    def to_dict(self) -> ClassesDocument:
        """Return the result as a JSON document.

        Classes are listed in descending order of their area in the frame.
        """
        cells = visible_cells(self._cells, self.placement)
        present = sorted((label for label, share in self.fractions.items() if share), key=self.fractions.__getitem__)
        classes = [
            _area(label, self.fractions[label], cells == self.labels.index(label)) for label in reversed(present)
        ]
        return {"task": "segment", "classes": classes}

    def caption(self) -> list[str]:
        """Return the classes with the largest areas, in per cent of the frame."""
        largest = sorted(self.fractions.items(), key=lambda item: -item[1])[:CAPTION_CLASSES]
        return [f"{label} {100 * share:.0f} %" for label, share in largest if share >= 0.005]

    def measures(self) -> list[Measure]:
        """Return the share of the frame that belongs to each class."""
        return [Measure("fraction", label, share) for label, share in self.fractions.items()]

    def state(self) -> object:
        """Return the share of the frame that belongs to each class, in whole per cent."""
        return {label: round(100 * share) for label, share in self.fractions.items()}

    def draw(self, image: Image) -> list[str]:
        """Tint every class, except the first one if it is the background. Return the caption."""
        colors = palette(len(self.labels))
        for index, label in enumerate(self.labels):
            if label.lower() not in ("background", "other", "unlabelled") and self.fractions[label]:
                draw_mask(image, self.classes == index, colors[index])
        return self.caption()

    def draw_compared(self, image: Image, labels: NDArray[np.integer], classes: Sequence[str], ignore: int) -> None:
        """Draw the classes, and tint pixels with a wrong class red. See `Segmentation.draw_compared`."""
        self.draw(image)
        tint(image, (self.classes != labels) & (labels < len(classes)) & (labels != ignore), WRONG_BGR)

    @cached_property
    def _cells(self) -> NDArray[np.intp]:
        """Return the class index of each cell of the grid, `[h,w]`."""
        cells: NDArray[np.intp] = self.grid.astype(np.intp) if self.grid.ndim == 2 else self.grid.argmax(axis=-1)
        return np.clip(cells, 0, len(self.labels) - 1)

    def _best(self) -> NDArray[np.uint8]:
        """Return the class with the largest interpolated score for each pixel.

        If scores are equal, the first class counts.
        """
        height, width = self.placement.frame_hw
        classes = np.zeros((height, width), np.uint8)
        best = grid_to_frame(np.ascontiguousarray(self.grid[..., 0]), self.placement)
        scratch = _BUFFERS.scratch(height, width)
        for index in range(1, self.grid.shape[-1]):
            scores = grid_to_frame(np.ascontiguousarray(self.grid[..., index]), self.placement, scratch)
            larger = scores > best
            classes[larger] = index
            np.maximum(best, scores, out=best)
        return classes


class _Buffers(threading.local):
    """Reused memory for masks. Each thread has its own."""

    def __init__(self) -> None:
        self.masks = BufferPool()
        self._scratch: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def scratch(self, height: int, width: int) -> NDArray[np.float32]:
        if self._scratch.shape != (height, width):
            self._scratch = np.empty((height, width), np.float32)
        return self._scratch


_BUFFERS = _Buffers()


def visible_cells(cells: NDArray[Cell], placement: Placement) -> NDArray[Cell]:
    """Return the cells of a grid over the network's input, `[h,w]`, that show the frame. At least one cell remains."""
    if placement.fills_input:
        return cells
    height, width = placement.input_hw
    left, top, right, bottom = placement.visible_input_xyxy
    down, across = cells.shape[0] / height, cells.shape[1] / width
    first_row, first_column = min(round(top * down), cells.shape[0] - 1), min(round(left * across), cells.shape[1] - 1)
    last_row, last_column = max(round(bottom * down), first_row + 1), max(round(right * across), first_column + 1)
    return cells[first_row:last_row, first_column:last_column]


def _nearest(grid: NDArray[np.float32], placement: Placement) -> NDArray[np.uint8]:
    """Resize class indices to the size of the frame. Each pixel gets the class of the cell at its centre."""
    height, width = placement.frame_hw
    y = (np.arange(height) + 0.5) * placement.scale_xy[1] + placement.offset_xy[1]
    x = (np.arange(width) + 0.5) * placement.scale_xy[0] + placement.offset_xy[0]
    rows = np.clip(y * grid.shape[0] / placement.input_hw[0], 0, grid.shape[0] - 1).astype(np.intp)
    columns = np.clip(x * grid.shape[1] / placement.input_hw[1], 0, grid.shape[1] - 1).astype(np.intp)
    numbers: NDArray[np.uint8] = grid.astype(np.uint8)[rows[:, None], columns]
    return numbers


def _area(label: str, fraction: float, inside: Mask) -> AreaDocument:
    """Return the size and the position of a class for a JSON document."""
    centre, top = _place_of(inside)
    return {
        "label": label,
        "fraction": round(fraction, 4),
        "centre_xy": None if centre is None else [round(centre[0], 4), round(centre[1], 4)],
        "top_y": None if top is None else round(top, 4),
    }


def _place_of(inside: Mask) -> tuple[tuple[float, float] | None, float | None]:
    """Return the centre and the topmost row of a class as shares of the frame's size, or None for both."""
    rows, columns = np.count_nonzero(inside, axis=1), np.count_nonzero(inside, axis=0)
    total = int(rows.sum())
    if not total:
        return None, None
    height, width = inside.shape
    x = float(columns @ (np.arange(width) + 0.5)) / total / width
    y = float(rows @ (np.arange(height) + 0.5)) / total / height
    return (x, y), int(np.argmax(rows > 0)) / height

"""Segmentation of images. A grid of probabilities is converted into a mask of the size of the frame."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import cached_property

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError, unknown_name
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.tensor_spec import Outputs, only
from orilla.runtime.tasks.drawing import draw_mask
from orilla.runtime.tasks.metrics.segmentation import SegmentationMetrics, tally
from orilla.runtime.tasks.task import Bools, DecodeContext, GroundTruth, Image, Target, Task

UNNAMED = ("background", "mask")
"""Classes of a data set whose masks mark one class that has no name."""

THRESHOLD = 0.5
"""A pixel belongs to the class if its probability is at least this value."""


class Segmentation(msgspec.Struct, frozen=True, eq=False, dict=True):
    """The pixels of a frame that belong to a class."""

    probability: NDArray[np.float32]
    """Probability of each cell of the network's grid, `[h,w]` float32, 0–1. It is a copy, not a view of the engine's
    memory."""
    frame_hw: tuple[int, int]
    """Height and width of the frame in pixels."""
    label: str

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Return the mask `[H,W]` bool: True where the interpolated probability is at least `THRESHOLD`.

        The mask is computed at its first use and is read-only. It stays valid as long as you hold it or a view of it,
        and its memory is reused afterwards.
        """
        height, width = self.frame_hw
        mask = _BUFFERS.masks.take((height, width)).view(np.bool_)
        np.greater_equal(self._interpolated(_BUFFERS.scratch(height, width)), THRESHOLD, out=mask)
        mask.setflags(write=False)
        return mask

    @property
    def resized(self) -> NDArray[np.float32]:
        """Return the probability of each pixel of the frame, `[H,W]` float32, 0–1. Each call interpolates it again."""
        return self._interpolated(None)

    @property
    def box_xyxy(self) -> tuple[int, int, int, int] | None:
        """Return the bounding box of the class: left, top, right and bottom edge in the frame, in pixels.

        Right and bottom are exclusive. None if the class is not in the frame.
        """
        inside = self.probability >= THRESHOLD
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return None
        (height, width), (down, across) = self.frame_hw, inside.shape
        left, right = int(columns[0]) * width // across, -(-(int(columns[-1]) + 1) * width // across)
        top, bottom = int(rows[0]) * height // down, -(-(int(rows[-1]) + 1) * height // down)
        return left, top, right, bottom

    def boxes_xyxy(self) -> list[tuple[int, int, int, int]]:
        """Return the bounding box of the class, or no box if the class is not in the frame."""
        return [] if (box := self.box_xyxy) is None else [box]

    @cached_property
    def fraction(self) -> float:
        """Return the share of grid cells of the network that belong to the class, 0–1."""
        return float(np.count_nonzero(self.probability >= THRESHOLD)) / self.probability.size

    def to_dict(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        return {"task": "segment", "label": self.label, "fraction": round(self.fraction, 4), **self._extent()}

    def draw(self, image: Image) -> list[str]:
        """Tint the mask and draw its outline. Return the caption."""
        draw_mask(image, self.mask)
        return [f"{self.label} {100 * self.fraction:.0f} %"]

    def _interpolated(self, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
        height, width = self.frame_hw
        resized: NDArray[np.float32] = cv2.resize(
            self.probability, (width, height), dst=out, interpolation=cv2.INTER_LINEAR
        )
        return resized

    def _extent(self) -> dict[str, object]:
        """Return the centre and the topmost row of the class as fractions of the frame size.

        Both are None if it is absent.
        """
        inside = self.probability >= THRESHOLD
        rows, columns = np.count_nonzero(inside, axis=1), np.count_nonzero(inside, axis=0)
        total = int(rows.sum())
        if not total:
            return {"centre_xy": None, "top_y": None}
        height, width = inside.shape
        x = float(columns @ (np.arange(width) + 0.5)) / total / width
        y = float(rows @ (np.arange(height) + 0.5)) / total / height
        return {"centre_xy": [round(x, 4), round(y, 4)], "top_y": round(int(np.argmax(rows > 0)) / height, 4)}


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


def decode(output: NDArray[np.float32], frame_hw: tuple[int, int], label: str) -> Segmentation:
    """Convert one output into a result that owns its data.

    Args:
        output: Probabilities `[h,w,1]` float32.
        frame_hw: Height and width of the frame in pixels.
        label: Name of the class.

    Raises:
        BundleError: The output does not have this shape.
    """
    if output.ndim != 3 or output.shape[-1] != 1:
        msg = f"the variant's output has shape {list(output.shape)}, but a segmentation outputs [height,width,1]"
        raise BundleError(msg)
    return Segmentation(np.array(output[..., 0], np.float32, copy=True), frame_hw, label)


class SegmentTask(Task):
    """Probability of one class for each cell of a grid over the image."""

    name = "segment"
    input_kinds = ("image",)
    metric = "iou"
    metric_title = "IoU"
    decision = "mask pixels"
    labels_pixels = True

    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Check that there is one grid of probabilities, and return the label or `mask`."""
        shape = self.only_output(outputs)
        if len(shape) != 3 or shape[-1] != 1:
            msg = (
                "a segmentation model outputs [height,width,1], the probability of one class, but this model outputs "
                f"{list(shape)}"
            )
            raise ConfigError(msg)
        if len(labels) > 1:
            msg = f"`labels` has {len(labels)} lines, but a single-class segmentation model needs one label"
            raise ConfigError(msg)
        return labels or ("mask",)

    def decode(self, outputs: Outputs, context: DecodeContext) -> Segmentation:
        """Convert probabilities `[h,w,1]` into an answer. Raise `BundleError` for another shape."""
        assert context.frame_hw is not None
        return decode(only(outputs), context.frame_hw, context.labels[0])

    def decisions(self, outputs: Outputs, context: DecodeContext) -> Bools:
        """Return the mask, at the size of the frame or on the network's grid."""
        if context.frame_hw is None:
            mask: Bools = only(outputs) >= THRESHOLD
            return mask
        return self.decode(outputs, context).mask

    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the mask as labels `[H,W]`: 0 is background, 1 is the class."""
        return self.decisions(outputs, context).astype(np.uint8)

    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Return the index of each label among the classes. Raise `ConfigError` if the data set lacks one.

        A data set with masks of one unnamed class matches any model.
        """
        if classes == UNNAMED and len(labels) == 1:
            return (1,)
        missing = [name for name in labels if name not in classes]
        if missing:
            raise unknown_name(missing[0], classes, kind=f"class of {data}")
        return tuple(classes.index(name) for name in labels)

    def pseudo_indices(self, labels: tuple[str, ...]) -> tuple[int, ...]:
        """Return 1, the pixel value that stands for the class in the masks of `pseudo_truth`."""
        del labels
        return (1,)

    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> SegmentationMetrics:
        """Return IoU and the metrics derived from pixel counts.

        The answers are counted one by one, so that they need not fit into memory together.
        """
        names, tallies = [], []
        for truth, outputs in answers:
            labels = np.asarray(truth.value)
            height, width = labels.shape
            result = self.decode(outputs, target.context.of_frame((height, width)))
            names.append(truth.name)
            tallies.append(tally(result.resized, labels == target.class_indices[0], labels != target.ignore))
        return SegmentationMetrics(names, tallies)


TASK = SegmentTask()

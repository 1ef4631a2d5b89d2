"""The task `count`: the number of objects in an image. The network outputs a heat map `[h,w,1]` with values 0-1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError, unknown_name
from orilla.runtime.preprocessing.tensor_spec import Outputs, only
from orilla.runtime.tasks.drawing import draw_box
from orilla.runtime.tasks.metrics.bootstrap import Interval, intervals
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Image, Measure, Target, Task

THRESHOLD = 0.5
"""A cell of the heat map belongs to an object if its value is at least this threshold."""

MIN_CELLS = 2
"""Minimum size of an object in cells. Smaller regions are noise."""

Box = tuple[int, int, int, int]


class Count(msgspec.Struct, frozen=True, eq=False):
    """The objects in a frame."""

    label: str
    boxes: tuple[Box, ...]
    """Left, top, right and bottom edge of each object in the frame, in pixels. Right and bottom are exclusive."""

    @property
    def count(self) -> int:
        """Return the number of objects."""
        return len(self.boxes)

    def boxes_xyxy(self) -> Sequence[Box]:
        """Return the boxes. A cascade runs its second model on them."""
        return self.boxes

    def to_dict(self) -> dict[str, object]:
        """Return the answer as a JSON document."""
        boxes = [list(box) for box in self.boxes]
        return {"task": "count", "label": self.label, "count": self.count, "boxes_xyxy": boxes}

    def caption(self) -> list[str]:
        """Return the count followed by the class name, such as `3 cars`."""
        return [f"{self.count} {self.label}"]

    def measures(self) -> list[Measure]:
        """Return the number of objects, for metrics and telemetry."""
        return [Measure("objects", self.label, self.count)]

    def state(self) -> object:
        """Return the number of objects. Sinks with `on=change` compare it."""
        return self.count

    def draw(self, image: Image) -> list[str]:
        """Draw the boxes, and return the caption."""
        for box in self.boxes:
            draw_box(image, box)
        return self.caption()


class CountMetrics:
    """Metrics of counts. The primary metric is the share of samples with the correct count."""

    def __init__(self, errors: Sequence[int]) -> None:
        self._errors = np.abs(np.array(errors, np.float64))

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return the share of correct counts and the mean absolute error."""
        return {
            "exact": float(np.average(self._errors == 0, weights=weights)),
            "mean_absolute_error": float(np.average(self._errors, weights=weights)),
        }

    def intervals(self) -> dict[str, Interval]:
        """Return 95 % intervals over the samples."""
        return intervals(self.metrics, len(self._errors))


class CountTask(Task):
    """The task `count`. An answer contains the connected regions of a heat map."""

    name = "count"
    input_kinds = ("image",)
    metric = "exact"
    metric_title = "share of correct counts"
    decision = "counts"

    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Check that there is one heat map, and return the name of the objects."""
        shape = self.only_output(outputs)
        if len(shape) != 3 or shape[-1] != 1:
            msg = f"task=count needs a heat map [height,width,1], but this model outputs {list(shape)}"
            raise ConfigError(msg)
        if len(labels) > 1:
            msg = f"`labels` has {len(labels)} lines, but task=count needs one label"
            raise ConfigError(msg)
        return labels or ("object",)

    def decode(self, outputs: Outputs, context: DecodeContext) -> Count:
        """Convert a heat map into boxes in the frame. Raise `BundleError` for an output of a different shape."""
        heat = only(outputs)
        if heat.ndim != 3 or heat.shape[-1] != 1:
            msg = f"the variant's output has shape {list(heat.shape)}, but the task count needs [height,width,1]"
            raise BundleError(msg)
        (rows, columns), (height, width) = heat.shape[:2], context.frame_hw or heat.shape[:2]
        scale = np.array([width / columns, height / rows] * 2)
        boxes = [tuple(int(edge) for edge in np.round(box * scale)) for box in _boxes(heat[..., 0])]
        return Count(context.labels[0], tuple(boxes))  # type: ignore[arg-type]

    def decisions(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the count `[1]`."""
        return np.array([self.decode(outputs, context).count])

    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> int:
        """Return the count of the original model."""
        return self.decode(outputs, context).count

    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Return the index of the counted class in the data set."""
        if labels[0] not in classes:
            raise unknown_name(labels[0], classes, kind=f"class of {data}")
        return (classes.index(labels[0]),)

    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> CountMetrics:
        """Compare counts with the ground truth, which is a number."""
        context = target.context
        return CountMetrics([self.decode(outputs, context).count - int(truth.value) for truth, outputs in answers])


def _boxes(heat: NDArray[np.float32]) -> list[NDArray[np.int32]]:
    """Return the left, top, right and bottom edge of each connected region, in cells."""
    inside = (heat >= THRESHOLD).astype(np.uint8)
    _, _, regions, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    regions = regions[1:]  # The first region is the background.
    large = regions[regions[:, cv2.CC_STAT_AREA] >= MIN_CELLS][:, :4]
    return [np.array([left, top, left + width, top + height]) for left, top, width, height in large]


TASK = CountTask()

"""Segmentation of images. A network outputs the probability of one class or the scores of several classes per cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError, unknown_name
from orilla.runtime.preprocessing.placement import stretched
from orilla.runtime.preprocessing.tensor_spec import Outputs, only
from orilla.runtime.tasks.decoding import Decoding
from orilla.runtime.tasks.label_names import count_of
from orilla.runtime.tasks.metrics import Metrics
from orilla.runtime.tasks.metrics.class_segmentation import ClassSegmentationMetrics, confusion
from orilla.runtime.tasks.metrics.segmentation import NoPixelMetrics, SegmentationMetrics, tally
from orilla.runtime.tasks.segmentation import MAX_CLASSES, ClassSegmentation, Segmentation
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, ImportedOutput, Target, Task

UNNAMED = ("background", "mask")
"""Class names of a data set whose masks mark a single, unnamed class."""

THRESHOLD = 0.5
"""Default threshold of a single-class segmentation. A pixel belongs to the class if its probability is at least this
value."""


def decode(output: NDArray[np.float32], frame_hw: tuple[int, int], label: str) -> Segmentation:
    """Convert the output of a single-class segmentation into a result. The frame must have filled the network's input.

    Args:
        output: Probabilities `[h,w,1]` float32.
        frame_hw: Height and width of the frame in pixels.
        label: Name of the class.

    Raises:
        BundleError: The output does not have this shape.
    """
    result = TASK.decode({"output": output}, DecodeContext((label,), frame_hw=frame_hw))
    assert isinstance(result, Segmentation)
    return result


class SegmentTask(Task):
    """The task `segment`: the class of each pixel. A model with one label outputs the probability of this class."""

    name = "segment"
    input_kinds = ("image",)
    metric = "iou"
    metric_title = "IoU"
    decision = "mask pixels"
    labels_pixels = True

    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Check that the model outputs one grid. Return the labels, by default `mask` for a single class.

        A grid `[h,w]` or `[h,w,1]` contains the probability of a single class, or the class indices of several classes.
        """
        shape = self.only_output(outputs)
        if len(shape) not in (2, 3):
            msg = (
                "a segmentation outputs [height,width,classes] or [classes,height,width], but this model outputs "
                f"{list(shape)}"
            )
            raise ConfigError(msg)
        counts = {1} if len(shape) == 2 else {shape[-1], shape[0]}
        if not labels and 1 not in counts:
            return tuple(map(str, range(min(counts))))
        if labels and 1 not in counts and len(labels) not in counts:
            classes = " or ".join(map(str, sorted(counts)))
            msg = f"`labels` has {count_of(labels)}, but the model outputs {list(shape)}, so it has {classes} classes"
            raise ConfigError(msg)
        if len(labels) > MAX_CLASSES:
            msg = f"`labels` has {count_of(labels)}: a segmentation model can have at most {MAX_CLASSES} classes"
            raise ConfigError(msg)
        return labels or ("mask",)

    def decoding_for(self, output: ImportedOutput, *, multi_label: bool) -> Decoding:
        """Return a sigmoid for one class or a softmax for several classes, if the network outputs logits."""
        plain = super().decoding_for(output, multi_label=multi_label)
        if output.has_activation or output.has_numbers:
            return plain
        one = len(output.shape) == 2 or 1 in (output.shape[0], output.shape[-1])
        return Decoding(activation="sigmoid" if one else "softmax")

    def decode(self, outputs: Outputs, context: DecodeContext) -> Segmentation | ClassSegmentation:
        """Convert a grid into an answer. Raise `BundleError` if its shape does not match the labels."""
        grid = self._grid(outputs, context)
        placement = context.placement(grid.shape[:2])
        if len(context.labels) == 1:
            return Segmentation(grid, placement, context.labels[0], context.decoding.threshold)
        return ClassSegmentation(context.labels, grid, placement)

    def decisions(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the mask or the class indices for each pixel of the frame or each cell of the network's grid."""
        if context.frame_hw is None:
            grid = self._grid(outputs, context)
            context = context.of_frame((grid.shape[0], grid.shape[1]))
            answer = (
                Segmentation(grid, stretched(grid.shape[:2], grid.shape[:2]), "", context.decoding.threshold)
                if len(context.labels) == 1
                else ClassSegmentation(context.labels, grid, stretched(grid.shape[:2], grid.shape[:2]))
            )
        else:
            answer = self.decode(outputs, context)
        return answer.mask() if isinstance(answer, Segmentation) else answer.classes

    def outputs_probabilities(self, context: DecodeContext) -> bool:
        """Return True for a single class.

        With several classes, the scores may be any numbers, because only the largest counts.
        """
        return len(context.labels) == 1 and super().outputs_probabilities(context)

    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return class indices `[H,W]`. For a single class, 0 is the background and 1 is the class."""
        return self.decisions(outputs, context).astype(np.uint8)

    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Return the index of each label among the classes. Raise `ConfigError` if the data set lacks a label.

        A data set with masks of one unnamed class matches any single-class model.
        """
        if classes == UNNAMED and len(labels) == 1:
            return (1,)
        missing = [name for name in labels if name not in classes]
        if missing:
            raise unknown_name(missing[0], classes, kind=f"class of {data}")
        return tuple(classes.index(name) for name in labels)

    def pseudo_indices(self, labels: tuple[str, ...]) -> tuple[int, ...]:
        """Return the pixel values of `pseudo_truth`: 1 for a single class, or the class indices."""
        return (1,) if len(labels) == 1 else tuple(range(len(labels)))

    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> Metrics:
        """Return IoU and the metrics derived from pixel counts.

        If the ground truth consists of the original model's decisions and it found no pixel of its only class, the
        result is a `NoPixelMetrics`.

        The answers are processed one by one, so they need not all fit into memory.
        """
        names, counts = [], []
        for truth, outputs in answers:
            labels = np.asarray(truth.value)
            height, width = labels.shape
            result = self.decode(outputs, target.context.of_frame((height, width)))
            names.append(truth.name)
            if isinstance(result, Segmentation):
                counts.append(tally(result.resized, labels == target.class_indices[0], labels != target.ignore))
            else:
                counts.append(confusion(result.classes, labels, target.class_indices))
        if len(target.labels) == 1:
            if target.pseudo and not any(count[1].any() for count in counts):
                return NoPixelMetrics(counts)
            return SegmentationMetrics(names, counts)
        return ClassSegmentationMetrics(target.labels, counts)

    def _grid(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.float32]:
        """Return probabilities `[h,w]`, scores `[h,w,C]` or class indices `[h,w]`. The result is a copy."""
        output, count = only(outputs), len(context.labels)
        if output.ndim == 3 and 1 in (output.shape[0], output.shape[-1]):
            output = output[..., 0] if output.shape[-1] == 1 else output[0]
        elif output.ndim == 3 and count > 1 and output.shape[-1] != count == output.shape[0]:
            output = output.transpose(1, 2, 0)
        if not (output.ndim == 2 or (output.ndim == 3 and output.shape[-1] == count > 1)):
            classes = "1" if count == 1 else str(count)
            shape = list(only(outputs).shape)
            msg = f"the variant's output has shape {shape}, but must have shape [height,width,{classes}]"
            raise BundleError(msg)
        grid = np.array(output, np.float32, order="C", copy=True)
        if context.decoding.activation is None or (grid.ndim == 2 and count > 1):
            return grid
        return context.decoding.probabilities(grid)


TASK = SegmentTask()

"""Detection of objects in images. The head that the bundle names converts the outputs into boxes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError, DataError, unknown_name
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.documents import BoxDocument, DetectionDocument
from orilla.runtime.tasks.drawing import color_of, draw_labelled_box, draw_points
from orilla.runtime.tasks.heads.head import Detections, HeadSpec, Shapes
from orilla.runtime.tasks.heads.registry import check, detect, head_of
from orilla.runtime.tasks.label_names import count_of
from orilla.runtime.tasks.metrics import Metrics
from orilla.runtime.tasks.metrics.detection import BoxTruth, DetectionMetrics, NoObjectMetrics, iou_matrix
from orilla.runtime.tasks.task import Bools, DecodeContext, GroundTruth, Image, Measure, Target, Task

METRIC_SCORE = 0.01
"""Minimum score of the boxes from which metrics are computed. mAP also needs boxes with low scores."""

SAME_IOU = 0.5
"""Two boxes of one class count as the same decision if their IoU is at least this value."""

MAX_CAPTION = 4
"""Maximum number of classes that the caption of an answer lists."""


class Box(msgspec.Struct, frozen=True):
    """An object in a frame."""

    label: str
    score: float
    """Score, 0–1."""
    xyxy: tuple[float, float, float, float]
    """Left, top, right and bottom edge in pixels of the frame, clipped to the frame. Right and bottom are exclusive."""
    keypoints: tuple[tuple[float, float], ...] = ()
    """Points of the object as x and y in pixels of the frame, in the order of the network. They are not clipped."""
    track: int | None = None
    """Number that the tracker gives to the object, which is the same in all frames. None if objects are not tracked."""

    def to_dict(self) -> BoxDocument:
        """Return the object as a JSON document. Positions are rounded to a hundredth of a pixel."""
        document: BoxDocument = {
            "label": self.label,
            "score": round(self.score, 4),
            "xyxy": [round(edge, 2) for edge in self.xyxy],
        }
        if self.keypoints:
            document["keypoints"] = [[round(x, 2), round(y, 2)] for x, y in self.keypoints]
        if self.track is not None:
            document["track"] = self.track
        return document


class Detection(msgspec.Struct, frozen=True):
    """The objects that a model found in a frame."""

    boxes: tuple[Box, ...]
    """Objects in descending order of score."""
    frame_hw: tuple[int, int]
    """Height and width of the frame in pixels."""

    def boxes_xyxy(self) -> list[tuple[int, int, int, int]]:
        """Return the boxes, rounded outwards to whole pixels."""
        return [
            (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
            for left, top, right, bottom in (box.xyxy for box in self.boxes)
        ]

    def to_dict(self) -> DetectionDocument:
        """Return the result as a JSON document."""
        return {"task": "detect", "boxes": [box.to_dict() for box in self.boxes]}

    def caption(self) -> list[str]:
        """Return the number of objects per class, the most frequent class first."""
        counts = self._counts().most_common()
        if not counts:
            return ["no objects"]
        listed = ", ".join(f"{count} {label}" for label, count in counts[:MAX_CAPTION])
        return [listed + (", ..." if len(counts) > MAX_CAPTION else "")]

    def measures(self) -> list[Measure]:
        """Return the number of objects, and the number of objects of each class that was found."""
        by_class = [Measure("boxes", label, count) for label, count in self._counts().items()]
        return [Measure("objects", "", len(self.boxes)), *by_class]

    def state(self) -> object:
        """Return the number of objects per class."""
        return self._counts()

    def _counts(self) -> Counter[str]:
        return Counter(box.label for box in self.boxes)

    def draw(self, image: Image) -> list[str]:
        """Draw boxes, labels and keypoints. Return the number of objects per class as text.

        Boxes with higher scores are drawn on top.
        """
        for box, edges in reversed(list(zip(self.boxes, self.boxes_xyxy(), strict=True))):
            name = box.label if box.track is None else f"{box.label} {box.track}"
            draw_labelled_box(image, edges, f"{name} {100 * box.score:.0f} %", color_of(box.label))
            draw_points(image, box.keypoints, color_of(box.label))
        return Detection.caption(self)  # A subclass with further lines in its caption draws these lines itself.


class DetectTask(Task):
    """The task `detect`: boxes with a class and a score, and optionally keypoints."""

    name = "detect"
    input_kinds = ("image",)
    metric = "map"
    metric_title = "mAP"
    decision = "boxes"
    needs_head = True
    scores_in_0_1 = False
    golden_candidates = 5
    good_agreement = 0.95  # A box whose score is near the threshold may disagree, but such a box matters little.

    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels. `head_labels` compares the number of labels with the outputs later."""
        del outputs
        if not labels:
            msg = "`labels` is missing: a detector needs the names of its classes"
            raise ConfigError(msg)
        return labels

    def check_outputs(self, context: DecodeContext, shapes: Shapes) -> None:
        """Raise `ConfigError` if there is no head, or if the head or the labels do not match the outputs."""
        if context.head is None:
            msg = "a detector needs a head that describes the layout of its outputs"
            raise ConfigError(msg)
        head_labels(context.head, shapes, context.labels)

    def check_finite(self, outputs: Outputs, context: DecodeContext) -> None:
        """Check the values that describe objects. The rest of an output may be uninitialised memory."""
        spec = spec_of(context)
        super().check_finite(head_of(spec.layout).used(outputs, spec), context)

    def decode(self, outputs: Outputs, context: DecodeContext) -> Detection:
        """Convert outputs into boxes in pixels of the frame.

        Raises:
            BundleError: An output is missing, the bundle names no head, or a class has no label.
        """
        found = located(outputs, context)
        frame_hw = context.frame_hw or input_size(context)
        if len(found) and not 0 <= found.classes.min() <= found.classes.max() < len(context.labels):
            msg = f"the variant found class {found.classes.max()}, but there are {len(context.labels)} labels"
            raise BundleError(msg)
        points = [()] * len(found) if found.keypoints is None else found.keypoints.tolist()
        boxes = (
            Box(context.labels[cls], score, tuple(box), tuple(map(tuple, own)))
            for cls, score, box, own in zip(
                found.classes.tolist(), found.scores.tolist(), found.boxes_xyxy.tolist(), points, strict=True
            )
        )
        return Detection(tuple(boxes), frame_hw)

    def decisions(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the edges, the score and the class of each box, `[N,6]`."""
        found = located(outputs, context)
        return np.column_stack([found.boxes_xyxy, found.scores, found.classes])

    def agreeing(self, outputs: Outputs, reference: Outputs, context: DecodeContext) -> Bools:
        """Return True for each pair of matching boxes, and False for each unmatched box.

        Boxes match if they have the same class and an IoU of at least `SAME_IOU`. If neither the outputs nor the
        reference have boxes, the result is `[True]`.
        """
        found, expected = located(outputs, context), located(reference, context)
        pairs = pair_count(found, expected)
        alone = len(found) + len(expected) - 2 * pairs
        return np.repeat([True, False], [pairs, alone]) if pairs + alone else np.ones(1, bool)

    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> BoxTruth:
        """Return the boxes as true objects."""
        found = located(outputs, context)
        return BoxTruth(found.boxes_xyxy, found.classes, np.zeros(len(found), bool), context.frame_hw)

    def plausibility(self, outputs: Sequence[Outputs], context: DecodeContext) -> float | None:
        """Return the mean of the best score in each image. An image without boxes counts as 0."""
        found = (located(output, context).scores for output in outputs)
        return float(np.mean([scores.max() if len(scores) else 0.0 for scores in found]))

    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Return the index of each class among the labels. Raise `ConfigError` if the model lacks a class.

        The model may have classes that the data set lacks.
        """
        del data
        for name in classes:
            if name not in labels:
                raise unknown_name(name, labels, kind="class of the model")
        return tuple(labels.index(name) for name in classes)

    def choose_golden(self, outputs: Outputs, context: DecodeContext, count: int) -> list[int]:
        """Return the indices of images with boxes whose scores are all far from the score threshold.

        A score near the threshold may lie on the other side of the threshold on another processor. If there are too few
        images with boxes, images without boxes are added.
        """
        limit, low = spec_of(context).score_threshold, with_score(context, METRIC_SCORE)
        certain = []
        for index in range(len(next(iter(outputs.values())))):
            scores = located({name: array[index] for name, array in outputs.items()}, low).scores
            margin = float(np.abs(scores - limit).min()) if len(scores) else limit
            certain.append((bool((scores >= limit).any()), margin))
        order = sorted(range(len(certain)), key=lambda index: certain[index], reverse=True)
        return sorted(order[:count])

    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> Metrics:
        """Return mAP and related metrics.

        Boxes with low scores also count, regardless of the model's score threshold. If the ground truth consists of the
        original model's decisions and it found no object in any image, the result is a `NoObjectMetrics`.

        Raises:
            DataError: A class index is out of range, or there is no object.
        """
        context = with_score(target.context, METRIC_SCORE)
        truths, found = [], []
        for truth, outputs in answers:
            boxes: BoxTruth = truth.value
            if len(boxes.classes) and not 0 <= boxes.classes.min() <= boxes.classes.max() < len(target.class_indices):
                msg = f"sample {truth.name} has class {boxes.classes.max()}: there are {len(target.class_indices)}"
                raise DataError(msg)
            classes = np.array(target.class_indices, np.int64)[boxes.classes]
            truths.append(BoxTruth(boxes.boxes_xyxy, classes, boxes.crowd, boxes.frame_hw))
            found.append(located(outputs, context.of_frame(boxes.frame_hw)))
        if target.pseudo and not any(len(truth.classes) for truth in truths):
            limit = spec_of(target.context).score_threshold
            return NoObjectMetrics([bool((boxes.scores >= limit).any()) for boxes in found])
        return DetectionMetrics(truths, found, target.labels)


def spec_of(context: DecodeContext) -> HeadSpec:
    """Return the head of a model. Raise `BundleError` if the bundle names no head."""
    if context.head is None:
        msg = "the bundle names no head, so the outputs of its detector cannot be decoded: import the model again"
        raise BundleError(msg)
    return context.head


def input_size(context: DecodeContext) -> tuple[int, int]:
    """Return height and width of the network's input."""
    assert isinstance(context.preprocess, Preprocess), "the task `detect` needs an image as input"
    return context.preprocess.size_hw


def with_score(context: DecodeContext, score: float) -> DecodeContext:
    """Return the context with a score threshold of at most `score`."""
    spec = spec_of(context)
    return context.with_head(msgspec.structs.replace(spec, score_threshold=min(score, spec.score_threshold)))


def located(outputs: Outputs, context: DecodeContext) -> Detections:
    """Return the objects in pixels of the frame, clipped to the frame.

    Objects that lie completely in the border of a letterbox are dropped. If `context.frame_hw` is None, positions refer
    to the network's input.
    """
    input_hw = input_size(context)
    found = detect(outputs, spec_of(context), input_hw)
    boxes, points = found.boxes_xyxy, found.keypoints
    if context.frame_hw is not None:
        placement = context.placement(input_hw)
        boxes = placement.to_frame(boxes.reshape(-1, 2, 2)).reshape(-1, 4).astype(np.float32)
        points = None if points is None else placement.to_frame(points).astype(np.float32)
    height, width = context.frame_hw or input_hw
    boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
    inside = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return Detections(boxes, found.scores, found.classes, points).take(inside)


def pair_count(found: Detections, expected: Detections) -> int:
    """Return the number of boxes that match a box of the same class with an IoU of at least `SAME_IOU`.

    Pairs are formed one after the other, in descending order of IoU.
    """
    ious = iou_matrix(found.boxes_xyxy, expected.boxes_xyxy)
    ious[found.classes[:, None] != expected.classes[None]] = 0
    pairs = 0
    while ious.size and ious.max() >= SAME_IOU:
        row, column = np.unravel_index(int(ious.argmax()), ious.shape)
        ious[row], ious[:, column] = 0, 0
        pairs += 1
    return pairs


def head_labels(spec: HeadSpec, shapes: Shapes, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Check a head and the labels against the outputs of a model, and return the labels.

    Args:
        spec: Layout of the outputs.
        shapes: Shapes of the outputs by name.
        labels: Labels that the user gave. If empty, the labels of the layout are returned, if the layout has labels.

    Raises:
        ConfigError: The layout does not match the outputs, or the number of labels does not match the classes.
    """
    check(spec, shapes)
    head = head_of(spec.layout)
    labels, count = labels or head.labels, head.class_count(spec, shapes)
    if not labels:
        classes = "" if count is None else f" {count}"
        msg = f"`labels` is missing: give the names of the{classes} classes in the order of the outputs"
        raise ConfigError(msg)
    if count is not None and len(labels) != count:
        msg = f"`labels` has {count_of(labels)}, but the outputs have {count} classes"
        raise ConfigError(msg)
    return labels


TASK = DetectTask()

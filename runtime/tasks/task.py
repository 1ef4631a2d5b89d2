"""The interface of a task, which defines what a model's outputs mean. Each task has its own file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, InvalidOutputError
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.placement import Placement, stretched
from orilla.runtime.preprocessing.spec import Spec
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.decoding import PLAIN, Decoding
from orilla.runtime.tasks.heads.head import HeadSpec, Shapes
from orilla.runtime.tasks.metrics import Metrics
from orilla.runtime.tasks.metrics.detection import BoxTruth

Image = NDArray[np.uint8]
"""Image, `[H,W,3]` uint8 BGR."""

Bools = NDArray[np.bool_]


class Measure(NamedTuple):
    """A number in an answer, for metrics and telemetry."""

    quantity: str
    """Measured quantity, such as `score`, `boxes` or `fraction`: lower-case letters and underscores."""
    name: str
    """Class or value to which the number belongs. Empty if the answer has one number of this quantity."""
    number: float
    unit: str = ""


class Answer(Protocol):
    """The result of one model for one frame. It owns its data."""

    def caption(self) -> list[str]:
        """Return the answer in a few words, as lines of text."""

    def measures(self) -> list[Measure]:
        """Return the numbers of the answer. The list is empty if the answer has none."""

    def state(self) -> object:
        """Return a value that changes when a person would say that the answer has changed.

        Small changes of scores and areas do not change it.
        """

    def to_dict(self) -> Mapping[str, object]:
        """Return the answer as a JSON document.

        `orilla --schema` describes the document by the return type. A `TypedDict` describes its keys.
        """

    def draw(self, image: Image) -> list[str]:
        """Draw the answer into an image of the frame's size. Return the lines to write below it."""


@runtime_checkable
class Located(Protocol):
    """An answer that finds objects in the frame, such as a segmentation."""

    def boxes_xyxy(self) -> Sequence[tuple[int, int, int, int]]:
        """Return the boxes of the objects: left, top, right and bottom edge in pixels.

        Right and bottom are exclusive.
        """


@dataclass(frozen=True, slots=True)
class ImportedOutput:
    """An output of a model that another tool wrote."""

    shape: tuple[int, ...]
    """Shape without the batch axis."""
    has_numbers: bool
    """True if the output contains integers that are not quantised, such as class indices."""
    has_activation: bool
    """True if the network computes the output by a softmax or a sigmoid."""


@dataclass(frozen=True, slots=True)
class DecodeContext:
    """The properties of a model and of a frame that a task needs to decode outputs."""

    labels: tuple[str, ...]
    """Labels of the model."""
    preprocess: Spec | None = None
    """Preprocessing of the model. If None, a frame is scaled to the size of the network's input."""
    frame_hw: tuple[int, int] | None = None
    """Height and width of the frame in pixels. None if the input is not an image, or if positions refer to the
    network's input."""
    head: HeadSpec | None = None
    """Layout of a detector's outputs. None for other tasks."""
    decoding: Decoding = PLAIN
    """Settings of the task for this model."""

    def of_frame(self, frame_hw: tuple[int, int] | None) -> DecodeContext:
        """Return a copy for a frame with a different size."""
        return replace(self, frame_hw=frame_hw)

    def with_head(self, head: HeadSpec) -> DecodeContext:
        """Return a copy with a different head."""
        return replace(self, head=head)

    def placement(self, grid_hw: tuple[int, int]) -> Placement:
        """Return the placement of the frame in the network's input.

        Args:
            grid_hw: Height and width that are assumed for the network's input if `preprocess` is not for images.
        """
        assert self.frame_hw is not None
        if isinstance(self.preprocess, Preprocess):
            return _placement(self.preprocess, self.frame_hw)
        return stretched(self.frame_hw, grid_hw)


@lru_cache(maxsize=64)
def _placement(preprocess: Preprocess, frame_hw: tuple[int, int]) -> Placement:
    return preprocess.placement(frame_hw)


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Ground truth of one sample."""

    name: str
    value: Any
    """The task determines the value: the index of the class in `Dataset.classes`, the class indices of all pixels
    `[H,W]`, the expected output values, or a `BoxTruth`."""


@dataclass(frozen=True, slots=True)
class Target:
    """Mapping from the classes of a data set to the outputs of a model."""

    task: Task
    """Task of the model."""
    context: DecodeContext
    """Properties of the model."""
    class_indices: tuple[int, ...]
    """Index in the model of each class of the data set. For the tasks `segment` and `regress`, the mapping is reversed:
    it contains the index in the data set of each label of the model."""
    ignore: int
    """Value of pixels without a label. They do not count."""
    pseudo: bool = False
    """True if the ground truth consists of the decisions of the original model."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels of the model."""
        return self.context.labels

    def metrics(self, answers: Iterable[tuple[GroundTruth, Outputs]]) -> Metrics:
        """Compare outputs with the ground truth. See `Task.metrics`."""
        return self.task.metrics(self, answers)


class Task(ABC):
    """A task defines what the outputs of a model mean. Objects of this class have no state."""

    name: ClassVar[str]
    input_kinds: ClassVar[tuple[str, ...]]
    """Kinds of input that a model of this task may take: `image`, `text` or `tensor`. The first one is the usual
    kind."""
    metric: ClassVar[str]
    """Name of the primary metric. Models are chosen and compared by it."""
    metric_title: ClassVar[str]
    """Description of the primary metric for reports."""
    decision: ClassVar[str]
    """Plural noun that messages use for the decisions of this task, such as `classes`."""
    needs_labels: ClassVar[bool] = True
    """True if a model of this task has labels and its labelled data must have the same task."""
    scores_in_0_1: ClassVar[bool] = True
    """True if every output value is a probability."""
    classifies: ClassVar[bool] = False
    """True if the ground truth of a sample is one class, which must be a class of the model."""
    labels_pixels: ClassVar[bool] = False
    """True if the ground truth of a sample is a class for each pixel. The part of an image's name before the first `_`
    then names its sequence."""
    good_agreement: ClassVar[float] = 0.99
    """Minimum agreement of the variants that the export prefers."""
    needs_head: ClassVar[bool] = False
    """True if a head converts the outputs into boxes."""
    golden_candidates: ClassVar[int] = 1
    """Number of candidates from which the export chooses each golden sample."""

    @abstractmethod
    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Check the outputs of a model that Orilla did not train, and return its labels.

        Args:
            outputs: Shape of each output, without the batch axis.
            labels: Labels that the user gave. If they are empty, default labels are returned.

        Raises:
            ConfigError: The outputs do not match the task, or the labels do not match the outputs.
        """

    def only_output(self, outputs: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """Return the shape of the only output. Raise `ConfigError` if there are several outputs."""
        if len(outputs) != 1:
            msg = f"task={self.name} needs a model with one output, but this model has {len(outputs)}: use task=tensor"
            raise ConfigError(msg)
        return outputs[0]

    def decoding_for(self, output: ImportedOutput, *, multi_label: bool) -> Decoding:
        """Return the settings of an imported model, such as the activation that it lacks.

        Args:
            output: The only output of the model, or the first one.
            multi_label: True if the user states that several classes can apply to one sample.

        Raises:
            ConfigError: The task does not have several classes per sample.
        """
        del output
        if multi_label:
            msg = f"`multi_label` is only for task=classify, not for task={self.name}"
            raise ConfigError(msg)
        return PLAIN

    def check_outputs(self, context: DecodeContext, shapes: Shapes) -> None:
        """Check, before the first frame, that the properties of a model match its outputs.

        Args:
            context: Properties of the model.
            shapes: Shapes of the outputs by name, without the batch axis.

        Raises:
            ConfigError: The head or the number of labels does not match the outputs.
        """
        del shapes
        if context.head is not None:
            msg = f"a head is only for detectors, not for task={self.name}"
            raise ConfigError(msg)

    def check_finite(self, outputs: Outputs, context: DecodeContext) -> None:
        """Check that all values of the outputs for one frame are finite.

        Other values cannot be converted into an answer.

        Args:
            outputs: Outputs for one frame.
            context: As for `decisions`.

        Raises:
            InvalidOutputError: A value is NaN or infinite.
        """
        del context
        for name, array in outputs.items():
            with np.errstate(all="ignore"):
                # The sum is NaN or infinite if a value is. This is faster than looking at each value.
                if np.isfinite(array.sum()):
                    continue
            count = array.size - int(np.isfinite(array).sum())
            if count:
                msg = f"{count} of the {array.size} values of the output {name} are NaN or infinite"
                raise InvalidOutputError(msg)

    @abstractmethod
    def decode(self, outputs: Outputs, context: DecodeContext) -> Answer:
        """Convert the outputs for one frame into an answer.

        Raises:
            BundleError: The shape of an output does not match the task or the labels.
        """

    @abstractmethod
    def decisions(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the decisions that a robot would act on, as an array.

        Args:
            outputs: Outputs for one frame.
            context: Properties of the model and the frame. If `frame_hw` is None, decisions about pixels are made for
                the cells of the network's grid.
        """

    def agreeing(self, outputs: Outputs, reference: Outputs, context: DecodeContext) -> Bools:
        """Return True for each decision in which outputs agree with a reference.

        Args:
            outputs: Outputs for one frame.
            reference: Outputs of the original model for the same frame, of the same shapes.
            context: As for `decisions`.
        """
        same: Bools = self.decisions(outputs, context) == self.decisions(reference, context)
        return same

    @abstractmethod
    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic] | int | BoxTruth:
        """Convert outputs of the original model to ground truth, for data without labels.

        Args:
            outputs: Outputs for one frame.
            context: As for `decisions`.
        """

    def plausibility(self, outputs: Sequence[Outputs], context: DecodeContext) -> float | None:
        """Return the plausibility (0–1) of the outputs for several samples without ground truth.

        It shows whether a network gets inputs like those that it was trained on. Return None if the task cannot
        determine it.

        Args:
            outputs: Outputs for each sample.
            context: Properties of the model.
        """
        del outputs, context
        return None

    @abstractmethod
    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Match the classes of a data set with the labels of a model.

        Args:
            classes: Classes of the data set.
            labels: Labels of the model.
            data: Name of the data set for messages.

        Returns:
            The value of `Target.class_indices`.

        Raises:
            ConfigError: The data set lacks a class of the model, or has a class that the model does not know.
        """

    def pseudo_indices(self, labels: tuple[str, ...]) -> tuple[int, ...]:
        """Return `Target.class_indices` for ground truth that `pseudo_truth` returned."""
        return tuple(range(len(labels)))

    @abstractmethod
    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> Metrics:
        """Compare outputs with the ground truth.

        Args:
            target: Classes of the data set and labels of the model.
            answers: The ground truth and the outputs of each sample.

        Raises:
            DataError: The ground truth does not match the outputs.
        """

    def outputs_probabilities(self, context: DecodeContext) -> bool:
        """Return True if the network must output only probabilities. Other values are then an error."""
        return self.scores_in_0_1 and context.decoding.activation is None

    def sums_to_one(self, outputs: Outputs, context: DecodeContext) -> bool:
        """Return True if the values of each output must sum to one.

        Args:
            outputs: Outputs of the original model by name, each `[N,...]`.
            context: Properties of the model.
        """
        del outputs, context
        return False

    def choose_golden(self, outputs: Outputs, context: DecodeContext, count: int) -> list[int]:
        """Return the indices of the golden samples among the candidates.

        Args:
            outputs: Outputs of the original model for the candidates by name, each `[N,...]`.
            context: Properties of the model.
            count: Requested number of golden samples.
        """
        del context, count
        return list(range(len(next(iter(outputs.values())))))

"""The interface of a head, which converts detector outputs of a certain layout into boxes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError

Floats = NDArray[np.float32]

Outputs = Mapping[str, Floats]
"""Outputs of a network by name, without the batch axis."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of the outputs by name, without the batch axis, in the order of the model file."""

Option = bool | int | float | str | list[float | list[float]]


@dataclass(frozen=True, slots=True)
class Detections:
    """The objects that a network found in one image, in pixels of the network's input."""

    boxes_xyxy: Floats
    """Left, top, right and bottom edge, `[N,4]`. Right and bottom are exclusive. Boxes may extend beyond the image."""
    scores: Floats
    """Scores, `[N]`, 0–1."""
    classes: NDArray[np.int64]
    """Class indices, `[N]`."""
    keypoints: Floats | None = None
    """Points of each object as x and y, `[N,K,2]`. None if the network predicts no points."""

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.scores)

    def take(self, indices: NDArray[np.integer] | NDArray[np.bool_]) -> Detections:
        """Return the objects with the given indices, in this order, or the objects for which a mask is True."""
        points = None if self.keypoints is None else self.keypoints[indices]
        return Detections(self.boxes_xyxy[indices], self.scores[indices], self.classes[indices], points)


class HeadSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The layout of a detector's outputs. The manifest of a bundle stores it."""

    layout: str
    """Name of the layout in `registry.HEADS`."""
    outputs: dict[str, str]
    """Name of the output for each role of the layout."""
    options: dict[str, Option] = {}
    """Options of the layout. `Head.defaults` lists them."""
    score_threshold: float = 0.25
    """Minimum score of a box."""
    iou_threshold: float = 0.45
    """Maximum IoU of two boxes of one class. If it is larger, the box with the lower score is removed."""
    max_boxes: int = 100
    """Maximum number of boxes per image. The boxes with the highest scores are kept."""


class Head(ABC):
    """A layout of a detector's outputs. Objects of this class have no state."""

    name: ClassVar[str]
    title: ClassVar[str]
    """Description of the layout for messages and help texts, with the shapes of the outputs."""
    roles: ClassVar[tuple[str, ...]]
    """Roles of the outputs, such as `boxes` and `scores`."""
    defaults: ClassVar[Mapping[str, Option]] = {}
    """Default values of the options. A required option has an empty string or list as its default."""
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Allowed values of options that are strings."""
    tables: ClassVar[tuple[str, ...]] = ()
    """Options whose values are lists of lists of numbers. All other lists contain numbers. All numbers must be
    positive."""
    labels: ClassVar[tuple[str, ...]] = ()
    """Names of the classes, if the layout is used only for certain classes."""
    overlaps: ClassVar[bool] = True
    """True if several boxes may describe one object, so that non-maximum suppression is necessary."""

    @abstractmethod
    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Return the specification for outputs of these shapes, or None if they cannot have this layout.

        Options that the shapes do not determine are omitted. `check` reports a missing option that has no default.

        Args:
            shapes: Shapes of all outputs.
            input_hw: Height and width of the network's input in pixels.
            names_hint: Names of the classes, if they are known. The number of names can help to decide between layouts.
        """

    def used(self, outputs: Outputs, spec: HeadSpec) -> Outputs:
        """Return the part of the outputs that the network has written. An output may have unused rows."""
        del spec
        return outputs

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set the options that cannot be determined without output values, such as the unit of coordinates.

        Args:
            spec: A specification that `recognise` returned.
            outputs: Outputs for an image, preferably one with objects.
            input_hw: Height and width of the network's input in pixels.

        Returns:
            The specification with these options, or None if the values contradict the layout.
        """
        del outputs, input_hw
        return spec

    def roles_of(self, spec: HeadSpec) -> tuple[str, ...]:
        """Return the roles of a specification. Layouts with one output per stride override this method."""
        del spec
        return self.roles

    def check(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if a specification is invalid for outputs of these shapes, or None."""
        roles = self.roles_of(spec)
        if set(spec.outputs) != set(roles):
            return (
                f"`outputs` has the roles {', '.join(spec.outputs) or 'none'}, but {self.name} needs {', '.join(roles)}"
            )
        absent = [name for name in spec.outputs.values() if name not in shapes]
        if absent:
            return f"the model has no output {absent[0]!r}: its outputs are {', '.join(shapes)}"
        return self._wrong_option(spec) or self.mismatch(
            spec, {role: bare(shapes[spec.outputs[role]]) for role in roles}
        )

    @abstractmethod
    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return the reason why shapes do not match a specification, or None. The keys of `shapes` are roles."""

    @abstractmethod
    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Return the boxes with a score of at least `spec.score_threshold`, before non-maximum suppression.

        Raises:
            BundleError: An output is missing.
        """

    @abstractmethod
    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int | None:
        """Return the number of classes, or None if the shapes do not determine it."""

    def arrays(self, outputs: Outputs, spec: HeadSpec) -> dict[str, Floats]:
        """Return the outputs by role, without leading axes of length 1. Raise `BundleError` if an output is missing."""
        try:
            found = {role: outputs[name] for role, name in spec.outputs.items()}
        except KeyError as error:
            msg = f"the variant has no output {error}: its outputs are {', '.join(outputs)}"
            raise BundleError(msg) from error
        return {role: array.reshape(bare(array.shape)) for role, array in found.items()}

    def option(self, spec: HeadSpec, name: str) -> Any:
        """Return an option, or its default value."""
        return spec.options.get(name, self.defaults[name])

    def _wrong_option(self, spec: HeadSpec) -> str | None:
        for name, value in spec.options.items():
            if name not in self.defaults:
                return f"unknown option {name!r}: {self.name} has the options {', '.join(self.defaults) or 'none'}"
            if not _same_type(value, self.defaults[name]):
                return f"option {name}={value!r} must be a {type(self.defaults[name]).__name__}"
            if value in ("", []):
                continue  # The option could not be determined.
            if isinstance(value, list) and not _are_positive(value, nested=name in self.tables):
                kind = "lists of positive numbers" if name in self.tables else "positive numbers"
                return f"option {name}={value!r} must be a list of {kind}"
            if name in self.choices and value not in self.choices[name]:
                return f"option {name}={value!r} must be one of {', '.join(self.choices[name])}"
        missing = [name for name in self.defaults if self.option(spec, name) in ("", [])]
        if not missing:
            return None
        choices = self.choices.get(missing[0])
        return f"option {missing[0]} of {self.name} could not be determined" + (
            f": give {' or '.join(choices)}" if choices else ""
        )


def _same_type(value: Option, default: Option) -> bool:
    """Return True if a value has the type of the default. An integer is accepted as a float."""
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _are_positive(values: Sequence[object], *, nested: bool) -> bool:
    """Return True if a list contains only positive numbers, or if `nested`, only lists of positive numbers."""
    if nested:
        return all(isinstance(row, list) and row and _are_positive(row, nested=False) for row in values)
    return all(isinstance(value, int | float) and 0 < value < math.inf for value in values)


def bare(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape without leading axes of length 1. At least two axes remain, or one if the shape has only one.

    Some exporters add such axes: `[1,A,85]` after the batch axis instead of `[A,85]`.
    """
    shape = tuple(shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def bare_shapes(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return all shapes without leading axes of length 1. See `bare`."""
    return {name: bare(shape) for name, shape in shapes.items()}


def best_classes(scores: Floats, threshold: float) -> tuple[NDArray[np.intp], Floats, NDArray[np.int64]]:
    """Return the boxes whose best class has a score of at least `threshold`.

    Args:
        scores: Scores, `[A,C]`. NaN counts as a score below every threshold.
        threshold: Minimum score.

    Returns:
        The indices of the boxes `[N]` in ascending order, their scores `[N]` and their classes `[N]`.
    """
    classes = scores.argmax(axis=1)
    best = np.take_along_axis(scores, classes[:, None], axis=1)[:, 0]
    chosen = np.flatnonzero(best >= threshold)
    return chosen, best[chosen], classes[chosen].astype(np.int64)


def numbers(values: Sequence[float] | Sequence[Sequence[float]]) -> list[float | list[float]]:
    """Convert numbers, or rows of numbers, to the type of an option's value."""
    return [float(value) if isinstance(value, int | float) else [float(item) for item in value] for value in values]


def with_options(spec: HeadSpec, **options: Option) -> HeadSpec:
    """Return a specification with some options replaced."""
    return msgspec.structs.replace(spec, options=spec.options | options)

"""The JSON documents of answers. `orilla --schema` describes each document by its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

import msgspec

ANSWER_SCHEMA = "Answer"
"""Name of the JSON Schema of all answers, which `orilla --schema` builds from the tasks."""

AnswerDocument = Annotated[
    Mapping[str, Any], msgspec.Meta(extra_json_schema={"allOf": [{"$ref": f"#/$defs/{ANSWER_SCHEMA}"}]})
]
"""The answer of one model in a JSON document. Its keys depend on the task."""


class ScoreDocument(TypedDict):
    """A class with its score (0–1) in a JSON document."""

    label: str
    score: float


class _ClassificationKeys(TypedDict):
    task: Literal["classify"]
    top: ScoreDocument
    """The most likely class."""
    top_k: list[ScoreDocument]
    """The most likely classes in descending order of score."""


class ClassificationDocument(_ClassificationKeys, total=False):
    """The answer of a classifier, for images or texts."""

    chosen: list[str]
    """The classes that apply. Only for a multi-label model."""


class AreaDocument(TypedDict):
    """The area of a class in a JSON document, as shares of the frame's area, width and height."""

    label: str
    fraction: float
    centre_xy: list[float] | None
    """Centre of the area. None if the class is not in the frame."""
    top_y: float | None


class MaskDocument(AreaDocument):
    """The answer of a segmentation with one class."""

    task: Literal["segment"]


class ClassesDocument(TypedDict):
    """The answer of a segmentation with several classes, in descending order of area."""

    task: Literal["segment"]
    classes: list[AreaDocument]


class _BoxKeys(TypedDict):
    label: str
    score: float
    xyxy: list[float]
    """Left, top, right and bottom edge in pixels of the frame. Right and bottom are exclusive."""


class BoxDocument(_BoxKeys, total=False):
    """An object of a detector in a JSON document."""

    keypoints: list[list[float]]
    """Points as x and y in pixels of the frame. Absent if the model finds none."""
    track: int
    """Track ID of the object. Absent if objects are not tracked, and for new objects."""


class DetectionDocument(TypedDict):
    """The answer of a detector."""

    task: Literal["detect"]
    boxes: list[BoxDocument]
    """Objects in descending order of score."""


class _RegressionKeys(TypedDict):
    task: Literal["regress"]
    values: dict[str, float]
    """Numbers by name, in their units."""


class RegressionDocument(_RegressionKeys, total=False):
    """The answer of a regression."""

    units: dict[str, str]
    """Units by name. Values without a unit are absent. The whole key is absent if no value has a unit."""


class ArraysDocument(TypedDict):
    """The outputs of a model by name, as nested lists of numbers."""

    task: Literal["tensor"]
    arrays: dict[str, list[Any]]


class AnswersDocument(TypedDict):
    """The answers of several models to one frame. The keys are the names of the models."""

    task: Literal["several"]
    answers: dict[str, AnswerDocument]


class CascadeDocument(TypedDict):
    """The answers of a cascade. Each part is an answer with the key `box_xyxy`."""

    task: Literal["cascade"]
    first: AnswerDocument
    parts: list[AnswerDocument]

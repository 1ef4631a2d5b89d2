"""The table of heads. A head is imported when it is first used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module

from orilla.devices.errors import ConfigError, unknown_name
from orilla.runtime.tasks.heads.head import Detections, Head, HeadSpec, Outputs, Shapes
from orilla.runtime.tasks.heads.nms import strongest, suppress

HEADS = {
    name: f"orilla.runtime.tasks.heads.{name}"
    for name in (
        "ssd",
        "ssd_anchors",
        "yolo_objectness",
        "yolo_anchors",
        "yolo_plain",
        "yolo_dfl",
        "detr",
        "yunet",
        "blazeface",
        "centernet",
        "nms_in_graph",
    )
}
"""Module of each layout. Its attribute `HEAD` is the head."""


@cache
def head_of(layout: str) -> Head:
    """Return the head for a layout. Raise `ConfigError` if the layout is unknown."""
    if layout not in HEADS:
        raise unknown_name(layout, HEADS, kind="layout of a detector")
    head: Head = import_module(HEADS[layout]).HEAD
    return head


def recognise(shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> list[HeadSpec]:
    """Return all specifications that fit the shapes of a model's outputs.

    If there are several specifications, the shapes alone do not determine the layout.

    Args:
        shapes: Shapes of all outputs without the batch axis.
        input_hw: Height and width of the network's input in pixels.
        names_hint: Names of the classes, if they are known.
    """
    found = (head_of(name).recognise(shapes, input_hw, names_hint) for name in HEADS)
    return [spec for spec in found if spec is not None]


def refine(specs: Sequence[HeadSpec], outputs: Outputs, input_hw: tuple[int, int]) -> list[HeadSpec]:
    """Complete each specification with `Head.refine`, and return those that the values do not contradict."""
    found = (head_of(spec.layout).refine(spec, outputs, input_hw) for spec in specs)
    return [spec for spec in found if spec is not None]


def check(spec: HeadSpec, shapes: Shapes) -> None:
    """Raise `ConfigError` if a specification is not valid for outputs of these shapes."""
    problem = head_of(spec.layout).check(spec, shapes)
    if problem is None:
        problem = _wrong_limit(spec)
    if problem is not None:
        msg = f"layout {spec.layout}: {problem}; the outputs are {describe_outputs(shapes)}"
        raise ConfigError(msg)


def detect(outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
    """Return the boxes after non-maximum suppression, in descending order of score.

    Raises:
        BundleError: An output is missing.
        ConfigError: The layout is unknown.
    """
    head = head_of(spec.layout)
    candidates = head.decode(outputs, spec, input_hw)
    if not head.overlaps:
        return strongest(candidates, spec.max_boxes)
    return suppress(candidates, spec.iou_threshold, spec.max_boxes)


def describe_outputs(shapes: Shapes) -> str:
    """Return the names and shapes of outputs for messages, as in `boxes [10,4], scores [10]`."""
    return ", ".join(f"{name} [{','.join(map(str, shape))}]" for name, shape in shapes.items())


def describe_heads() -> list[str]:
    """Return a line for each layout with its name and the outputs that it expects."""
    return [f"{name}: {head_of(name).title}" for name in HEADS]


def _wrong_limit(spec: HeadSpec) -> str | None:
    for name in ("score_threshold", "iou_threshold"):
        value = getattr(spec, name)
        if not 0 <= value <= 1:
            return f"{name}={value} must be between 0 and 1"
    return None if spec.max_boxes >= 1 else f"max_boxes={spec.max_boxes} must be 1 or more"

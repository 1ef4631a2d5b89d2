"""Guess the task of a model, and the names of its classes, from the shapes of its outputs."""

from __future__ import annotations

import math

from orilla.devices.errors import ConfigError
from orilla.export.imports.foreign import ForeignModel
from orilla.export.imports.image_input import image_size, takes_images
from orilla.export.imports.questions import Questions
from orilla.export.model_hints import ModelHints
from orilla.runtime.tasks.heads import registry as heads
from orilla.runtime.tasks.registry import TASKS, task_of

KNOWN_CLASSES = {
    19: "Cityscapes' 19 classes",
    20: "Pascal VOC's 20 classes",
    21: "Pascal VOC's 20 classes after the background",
    80: "COCO's 80 classes",
    81: "COCO's 80 classes after the background",
    90: "COCO's 90 numbers, of which 10 are unused",
    91: "COCO's 90 numbers after the background",
    150: "ADE20K's 150 classes",
    365: "Objects365's 365 classes",
    601: "Open Images' 601 classes",
    1000: "ImageNet's 1000 classes",
    1001: "ImageNet's 1000 classes after the background",
}
"""Well-known class lists. The keys are the numbers of classes."""

MAX_VALUES = 8
"""Maximum number of outputs for which a network without a final softmax is treated as a regression."""


def choose_task(model: ForeignModel, hints: ModelHints, questions: Questions) -> str:
    """Return the task from the user or the file. If neither states it, ask for it, and return the probable task.

    Raises:
        ConfigError: The task is unknown, or models for it cannot be imported.
    """
    stated = hints.task or model.hints.task
    if stated is None:
        guess, reason = _guess(model)
        names = (name for name in TASKS if "text" not in task_of(name).input_kinds)
        questions.ask("task", ", ".join(names), guess, reason)
        return guess
    TASKS.find(stated)
    if "text" in task_of(stated).input_kinds:
        msg = "text models cannot be imported: use task=tensor, which takes tokens, or export the Keras model"
        raise ConfigError(msg)
    return stated


def ask_for_labels(count: int | None, questions: Questions) -> None:
    """Ask for the names of the classes.

    Args:
        count: Number of classes. None if the outputs do not show it.
        questions: The questions that the user must answer.
    """
    size = "the" if count is None else f"the {count}"
    choices = f"a file with the names of {size} classes in the order of the outputs, one per line"
    if count in KNOWN_CLASSES:
        questions.ask("labels", choices, KNOWN_CLASSES[count], "it has the same number of classes")
    elif count is None:
        questions.ask("labels", choices, KNOWN_CLASSES[90], "most detectors with this output are trained on COCO")
    else:
        questions.ask("labels", choices, "those of its training data", "no well-known list has this length")


def _guess(model: ForeignModel) -> tuple[str, str]:
    """Return the probable task, and the reason for the guess."""
    shapes = {tensor.name: tensor.shape[1:] for tensor in model.outputs}
    seen = heads.describe_outputs(shapes)
    if not takes_images(model, ModelHints()):
        return "tensor", "its input is not an image"
    found = heads.recognise(shapes, image_size(model))
    if found:
        return "detect", f"its outputs {seen} have the layout {found[0].layout}"
    if len(shapes) != 1:
        return "tensor", f"it has {len(shapes)} outputs: {seen}"
    shape = next(iter(shapes.values()))
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) in (2, 3):
        return "segment", f"its output {seen} is a grid"
    if len(shape) != 1:
        return "tensor", f"its output is {seen}"
    if model.activation is None and math.prod(shape) <= MAX_VALUES:
        return "regress", f"its output {seen} has few numbers and no softmax"
    return "classify", f"its output {seen} is one vector"

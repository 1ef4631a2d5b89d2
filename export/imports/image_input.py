"""Determine the image preprocessing of an imported model: size, layout, colour, value range and resizing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from orilla.devices.errors import ConfigError
from orilla.export.choices import EVERYTHING
from orilla.export.image_hints import (
    PixelValues,
    describe_values,
    resize_options,
    stated_color,
    stated_resize,
    stated_values,
)
from orilla.export.imports.foreign import ForeignModel, ForeignTensor
from orilla.export.imports.questions import Questions
from orilla.export.model_hints import ANY_RANGE, IMAGE_HINTS, INPUT_RANGES, ModelHints
from orilla.runtime.preprocessing.image import ImagePreprocessor, Preprocess, ResizeMode
from orilla.runtime.preprocessing.spec import KINDS
from orilla.runtime.tasks.registry import task_of

Layout = Literal["NHWC", "NCHW"]

MIN_SIDE = 8
"""Minimum height and width of an image with one channel. A smaller input is treated as an array."""

PIXEL_SPANS = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
"""Ranges of real numbers that the quantisation of an image input usually covers."""

SPAN_TOLERANCE = 0.06
"""Maximum relative difference between the range of a quantised input and a range of pixel values."""


@dataclass(frozen=True, slots=True)
class ImportedImages:
    """The preprocessing of a model that takes images."""

    spec: Preprocess
    values: str
    """Description of the pixel values that the network takes."""
    known: tuple[str, ...]
    """Names of the hints that come from the file, because the user did not state them."""


def takes_images(model: ForeignModel, hints: ModelHints) -> bool:
    """Return True if the only input is an image. Raise `ConfigError` if `input_kind` contradicts the shape."""
    possible = len(model.inputs) == 1 and bool(_layouts(model.inputs[0]))
    if hints.input_kind is not None:
        wants_images = hints.input_kind in KINDS and KINDS[hints.input_kind] is ImagePreprocessor
        if wants_images and not possible:
            msg = f"`input_kind` is image, but the model takes {describe_inputs(model)}"
            raise ConfigError(msg)
        return wants_images
    return possible and _is_image(model.inputs[0])


def image_size(model: ForeignModel) -> tuple[int, int]:
    """Return the height and width of the model's only input, which is an image."""
    (tensor,) = model.inputs
    height, width, _ = _sizes(tensor, _layouts(tensor)[0])
    return height, width


def image_spec(model: ForeignModel, task: str, hints: ModelHints, questions: Questions) -> ImportedImages:
    """Return the image preprocessing. A question about each unknown fact is added to `questions`.

    Args:
        model: The model.
        task: Name of the task.
        hints: Facts that the user states.
        questions: The questions that the user must answer.
    """
    (tensor,) = model.inputs
    layout = _layout(tensor, hints, questions)
    height, width, channels = _sizes(tensor, layout)
    own = model.hints.preprocess
    if own is not None and own.size_hw == (height, width) and all(getattr(hints, name) is None for name in IMAGE_HINTS):
        return ImportedImages(own, describe_values(hints, PixelValues(own.mean, own.std)), EVERYTHING)
    values = _values(model, layout, channels, hints, questions)
    color = _color(model, channels, values, hints, questions)
    resize = _resize(task, (height, width), hints, questions)
    spec = Preprocess(
        size_hw=(height, width),
        color="grey" if channels == 1 else color,  # type: ignore[arg-type]
        grey="mean" if channels == 1 and color == "mean" else "luma",
        resize=resize,
        mean=values.mean,
        std=values.std,
        **resize_options(hints, resize),  # type: ignore[arg-type]
    )
    if (problem := spec.problem()) is not None:
        raise ConfigError(problem)
    return ImportedImages(spec, describe_values(hints, values), ("input_range", *("color",) * (channels == 3)))


def describe_inputs(model: ForeignModel) -> str:
    """Return the names, shapes and types of the inputs, as messages show them."""
    return ", ".join(tensor.describe() for tensor in model.inputs)


def _layouts(tensor: ForeignTensor) -> list[Layout]:
    """Return the layouts in which the channel axis has the size 1 or 3."""
    if len(tensor.shape) != 4 or 0 in tensor.shape:
        return []
    found: list[Layout] = ["NHWC"] if tensor.shape[3] in (1, 3) else []
    return [*found, "NCHW"] if tensor.shape[1] in (1, 3) else found


def _is_image(tensor: ForeignTensor) -> bool:
    """Return True for an image, and False for an array with a similar shape, such as a spectrogram."""
    layout = _layouts(tensor)[0]
    height, width, channels = _sizes(tensor, layout)
    if channels == 3:
        return True
    if min(height, width) < MIN_SIDE:
        return False
    span = None if tensor.quantisation is None else tensor.quantisation.span(np.dtype(tensor.dtype))
    return span is None or any(
        max(abs(span[0] - low), abs(span[1] - high)) <= SPAN_TOLERANCE * (high - low) for low, high in PIXEL_SPANS
    )


def _layout(tensor: ForeignTensor, hints: ModelHints, questions: Questions) -> Layout:
    possible = _layouts(tensor)
    if hints.layout is not None:
        if hints.layout not in possible:
            msg = f"`layout` is {hints.layout}, but the input is {tensor.describe()}: use {' or '.join(possible)}"
            raise ConfigError(msg)
        return hints.layout
    if len(possible) > 1:
        questions.ask("layout", "NHWC or NCHW", "NHWC", f"the input {tensor.describe()} fits both")
    return possible[0]


def _sizes(tensor: ForeignTensor, layout: Layout) -> tuple[int, int, int]:
    """Return height, width and channels."""
    _, *sizes = tensor.shape
    return (sizes[0], sizes[1], sizes[2]) if layout == "NHWC" else (sizes[1], sizes[2], sizes[0])


def _values(model: ForeignModel, layout: Layout, channels: int, hints: ModelHints, questions: Questions) -> PixelValues:
    """Return the mean and standard deviation from the user, the quantisation of the input, or the metadata."""
    stated = stated_values(hints, channels)
    if stated is not None:
        return stated
    (tensor,) = model.inputs
    if tensor.quantisation is not None and tensor.dtype in ("uint8", "int8"):
        # By convention, the quantised value is the pixel value (minus 128 in int8), so real = scale * (pixel - offset).
        offset = tensor.quantisation.zero_point + (128 if tensor.dtype == "int8" else 0)
        return PixelValues((float(offset),), (1 / tensor.quantisation.scale,))
    if model.hints.mean is not None and model.hints.std is not None:
        return PixelValues(model.hints.mean, model.hints.std)
    if not tensor.dtype.startswith("float"):
        return PixelValues()
    guess, reason = _guess_range(model, layout)
    questions.ask("input_range", ", ".join((*INPUT_RANGES, ANY_RANGE)), guess, reason)
    return PixelValues()


def _guess_range(model: ForeignModel, layout: Layout) -> tuple[str, str]:
    if model.normalising is not None:
        return "0..255", f"the first operator is {model.normalising}, so the network normalises its input itself"
    if layout == "NCHW":
        return "torch", "the channels come first, as in networks from PyTorch"
    return "-1..1", "it is the usual range of networks from TensorFlow"


def _color(model: ForeignModel, channels: int, values: PixelValues, hints: ModelHints, questions: Questions) -> str:
    """Return `rgb` or `bgr`, or for one channel `luma` or `mean`."""
    stated = stated_color(hints, values, channels, describe_inputs(model))
    if stated is not None:
        return stated
    if channels == 1:
        return "luma"
    if model.hints.color in ("rgb", "bgr"):
        return str(model.hints.color)
    questions.ask("color", "rgb or bgr", "rgb", "most networks take RGB; networks trained with OpenCV take BGR")
    return "rgb"


def _resize(task: str, size_hw: tuple[int, int], hints: ModelHints, questions: Questions) -> ResizeMode:
    stated = stated_resize(hints)
    if stated is not None:
        return stated
    if task_of(task).needs_head:
        guess = "letterbox" if size_hw[0] == size_hw[1] else "stretch"
        shape = "square" if guess == "letterbox" else "not square"
        questions.ask("resize", ", ".join(get_args(ResizeMode)), guess, f"the input of this detector is {shape}")
    return "stretch"

"""Determine the preprocessing of images for an imported model: size, layout, colour, value range and resizing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from orilla.devices.errors import ConfigError, unknown_name
from orilla.export.convert.input_adapter import CAFFE_MEAN_BGR, INPUT_RANGES, TORCH_DEVIATION, TORCH_MEAN
from orilla.export.imports.foreign import ForeignModel, ForeignTensor
from orilla.export.imports.questions import Questions
from orilla.export.model_hints import ModelHints
from orilla.runtime.preprocessing.image import ImagePreprocessor, Preprocess, ResizeMode
from orilla.runtime.preprocessing.resize import Interpolation
from orilla.runtime.preprocessing.spec import KINDS
from orilla.runtime.tasks.registry import task_of

Layout = Literal["NHWC", "NCHW"]

MIN_SIDE = 8
"""Minimum height and width of an image with one channel. A smaller input is treated as an array."""

PIXEL_SPANS = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0))
"""Ranges of real numbers that the quantisation of an image input usually covers."""

SPAN_TOLERANCE = 0.06
"""Maximum relative difference between the range of a quantised input and a range of pixel values."""

STATED = (
    "input_range",
    "mean",
    "std",
    "color",
    "resize",
    "interpolation",
    "fill",
    "anchor",
    "rounding",
    "crop_fraction",
)
"""Hints that replace the preprocessing in a file that `orilla extract` wrote."""

COLOR_CHOICES = ("rgb", "bgr", "luma", "mean")


@dataclass(frozen=True, slots=True)
class Numbers:
    """Mean and standard deviation in grey levels, and the channel order that they imply."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: str | None = None


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


def image_spec(model: ForeignModel, task: str, hints: ModelHints, questions: Questions) -> Preprocess:
    """Return the preprocessing of images. A question about each unknown fact is added to `questions`.

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
    if own is not None and own.size_hw == (height, width) and all(getattr(hints, name) is None for name in STATED):
        return own
    numbers = _numbers(model, layout, channels, hints, questions)
    color = _color(model, channels, numbers, hints, questions)
    resize = _resize(task, (height, width), hints, questions)
    spec = Preprocess(
        size_hw=(height, width),
        color="grey" if channels == 1 else color,  # type: ignore[arg-type]
        grey="mean" if channels == 1 and color == "mean" else "luma",
        resize=resize,
        interpolation=_interpolation(hints, resize),  # type: ignore[arg-type]
        mean=numbers.mean,
        std=numbers.std,
        **_letterbox(hints, resize),  # type: ignore[arg-type]
    )
    if (problem := spec.problem()) is not None:
        raise ConfigError(problem)
    return spec


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


def _numbers(model: ForeignModel, layout: Layout, channels: int, hints: ModelHints, questions: Questions) -> Numbers:
    """Return the mean and standard deviation from the user, the quantisation of the input, or the metadata."""
    if hints.mean is not None or hints.std is not None:
        if hints.input_range is not None:
            msg = "`input_range` cannot be combined with `mean` and `std`"
            raise ConfigError(msg)
        return Numbers(hints.mean or (0.0,), hints.std or (1.0,))
    if hints.input_range is not None:
        return _of_range(hints.input_range, channels)
    (tensor,) = model.inputs
    if tensor.quantisation is not None and tensor.dtype in ("uint8", "int8"):
        # By convention, the quantised value is the pixel value (minus 128 in int8), so real = scale * (pixel - offset).
        offset = tensor.quantisation.zero_point + (128 if tensor.dtype == "int8" else 0)
        return Numbers((float(offset),), (1 / tensor.quantisation.scale,))
    if model.hints.mean is not None and model.hints.std is not None:
        return Numbers(model.hints.mean, model.hints.std)
    if not tensor.dtype.startswith("float"):
        return Numbers((0.0,), (1.0,))
    guess, reason = _guess_range(model, layout)
    questions.ask("input_range", ", ".join(INPUT_RANGES), guess, reason)
    return Numbers((0.0,), (1.0,))


def _of_range(name: str, channels: int) -> Numbers:
    """Return the mean and standard deviation of a named value range. Raise `ConfigError` if the name is unknown."""
    if name not in INPUT_RANGES:
        raise unknown_name(name, INPUT_RANGES, kind="input range")
    known = named_ranges(channels)
    if name not in known:
        msg = f"`input_range` is {name}, which is for three channels, but the model takes grey images"
        raise ConfigError(msg)
    return known[name]


def named_ranges(channels: int) -> dict[str, Numbers]:
    """Return the mean and standard deviation of each value range for this number of channels, by name."""
    ranges = {
        "0..255": Numbers((0.0,), (1.0,)),
        "0..1": Numbers((0.0,), (255.0,)),
        "-1..1": Numbers((127.5,), (127.5,)),
    }
    if channels == 1:
        return ranges
    torch = Numbers(tuple((255 * TORCH_MEAN).tolist()), tuple((255 * TORCH_DEVIATION).tolist()), "rgb")
    return ranges | {"torch": torch, "caffe": Numbers(tuple(CAFFE_MEAN_BGR.tolist()), (1.0, 1.0, 1.0), "bgr")}


def _guess_range(model: ForeignModel, layout: Layout) -> tuple[str, str]:
    if model.normalising is not None:
        return "0..255", f"the first operator is {model.normalising}, so the network normalises its input itself"
    if layout == "NCHW":
        return "torch", "the channels come first, as in networks from PyTorch"
    return "-1..1", "it is the usual range of networks from TensorFlow"


def _color(model: ForeignModel, channels: int, numbers: Numbers, hints: ModelHints, questions: Questions) -> str:
    """Return `rgb` or `bgr`, or for one channel `luma` or `mean`."""
    allowed = ("luma", "mean") if channels == 1 else ("rgb", "bgr")
    if hints.color is not None:
        if hints.color not in COLOR_CHOICES:
            raise unknown_name(hints.color, COLOR_CHOICES, kind="colour")
        if hints.color not in allowed:
            msg = f"`color` is {hints.color}, but the model takes {describe_inputs(model)}: use {' or '.join(allowed)}"
            raise ConfigError(msg)
        if numbers.color not in (None, hints.color):
            msg = f"`color` is {hints.color}, but `input_range` {hints.input_range} implies {numbers.color}: omit one"
            raise ConfigError(msg)
        return hints.color
    if channels == 1:
        return "luma"
    if numbers.color is not None:
        return numbers.color
    if model.hints.color in ("rgb", "bgr"):
        return str(model.hints.color)
    questions.ask("color", "rgb or bgr", "rgb", "most networks take RGB; networks trained with OpenCV take BGR")
    return "rgb"


def _resize(task: str, size_hw: tuple[int, int], hints: ModelHints, questions: Questions) -> ResizeMode:
    if hints.resize is not None:
        if hints.resize not in get_args(ResizeMode):
            raise unknown_name(hints.resize, get_args(ResizeMode), kind="resize mode")
        return hints.resize  # type: ignore[return-value]
    if task_of(task).needs_head:
        guess = "letterbox" if size_hw[0] == size_hw[1] else "stretch"
        shape = "square" if guess == "letterbox" else "not square"
        questions.ask("resize", ", ".join(get_args(ResizeMode)), guess, f"the input of this detector is {shape}")
    return "stretch"


def _interpolation(hints: ModelHints, resize: ResizeMode) -> str:
    if hints.interpolation is None:
        return "halve-linear" if resize == "stretch" else "linear"
    if hints.interpolation not in get_args(Interpolation):
        raise unknown_name(hints.interpolation, get_args(Interpolation), kind="interpolation")
    return hints.interpolation


def _letterbox(hints: ModelHints, resize: ResizeMode) -> dict[str, object]:
    """Return the options of a letterbox or crop that the user stated."""
    stated: dict[str, object] = {
        name: value
        for name in ("fill", "anchor", "rounding", "crop_fraction")
        if (value := getattr(hints, name)) is not None
    }
    for name in stated:
        needed = "crop" if name == "crop_fraction" else "letterbox"
        if resize != needed:
            msg = f"`{name}` has no effect unless `resize` is {needed}: leave it out"
            raise ConfigError(msg)
    return stated

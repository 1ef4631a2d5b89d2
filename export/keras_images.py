"""Determine the image preprocessing of a Keras model that Orilla did not train."""

from __future__ import annotations

from dataclasses import dataclass

from orilla.devices.errors import ConfigError
from orilla.export.image_hints import (
    PixelValues,
    describe_values,
    resize_options,
    stated_color,
    stated_resize,
    stated_values,
)
from orilla.export.model_hints import ANY_RANGE, IMAGE_HINTS, INPUT_RANGES, ModelHints
from orilla.export.model_info import ModelInfo
from orilla.runtime.preprocessing.image import Preprocess

IMPORT_HINTS = ("layout", "input_kind", "head", "multi_label")
"""Hints that are only for models that `orilla import` reads."""


@dataclass(frozen=True, slots=True)
class KerasImages:
    """The images that a Keras model takes."""

    spec: Preprocess
    """Preprocessing outside the graph. It delivers grey levels 0–255."""
    values: PixelValues
    """Normalisation that is added to the graph."""
    reverse: bool
    """True if the graph reverses the channels before the normalisation."""
    described: str
    """Description of the value range for the report."""
    in_model: bool
    """True if the model itself states the value range."""


def takes_images(info: ModelInfo) -> bool:
    """Return True if the only input of a model has the shape of an image with 1 or 3 channels."""
    if len(info.inputs) != 1:
        return False
    (tensor,) = info.inputs
    return len(tensor.shape) == 3 and tensor.shape[-1] in (1, 3) and tensor.dtype.startswith(("float", "uint8", "int"))


def keras_images(hints: ModelHints, info: ModelInfo, name: str) -> KerasImages:
    """Return the preprocessing of a model that takes images.

    Args:
        hints: Facts that the user states.
        info: Properties of the model.
        name: Name of the model file for messages.

    Raises:
        ConfigError: The value range is unknown, or a hint does not fit the model.
    """
    height, width, channels = info.inputs[0].shape
    stated = stated_values(hints, channels)
    if stated is None and not (info.normalises or not info.inputs[0].dtype.startswith("float")):
        ranges = ", ".join((*INPUT_RANGES, ANY_RANGE))
        msg = f"the value range of {name}'s training images is unknown: set `input_range` to one of {ranges}"
        raise ConfigError(msg)
    values = stated or PixelValues()
    color = stated_color(hints, values, channels, describe_inputs(info)) or ("luma" if channels == 1 else "rgb")
    # If a range implies BGR, the conversion is part of the graph. The file then also works in runtimes that deliver
    # RGB.
    reverse = values.color == "bgr"
    resize = stated_resize(hints) or "stretch"
    spec = Preprocess(
        size_hw=(height, width),
        color="grey" if channels == 1 else "rgb" if reverse else color,  # type: ignore[arg-type]
        grey="mean" if color == "mean" else "luma",
        resize=resize,
        **resize_options(hints, resize),  # type: ignore[arg-type]
    )
    normalised = Preprocess((height, width), "grey" if channels == 1 else "rgb", mean=values.mean, std=values.std)
    if (problem := spec.problem() or normalised.problem()) is not None:
        raise ConfigError(problem)
    described = describe_values(hints, values) if stated is not None else "0..255, normalised by the model itself"
    return KerasImages(spec, values, reverse, described, in_model=stated is None)


def check_hints(hints: ModelHints, info: ModelInfo, name: str, *, images: bool) -> None:
    """Raise `ConfigError` for a hint that does not apply to the model.

    Args:
        hints: Facts that the user states.
        info: Properties of the model.
        name: Name of the model file for messages.
        images: True if the model takes images.
    """
    for hint in () if images else IMAGE_HINTS:
        if getattr(hints, hint) is not None:
            msg = f"`{hint}` is only for image models, but {name} takes {describe_inputs(info)}{channels_note(info)}"
            raise ConfigError(msg)
    for hint in IMPORT_HINTS:
        if getattr(hints, hint) is not None:
            msg = f"`{hint}` is only for models that `orilla import` reads, not for the Keras model {name}"
            raise ConfigError(msg)


def channels_note(info: ModelInfo) -> str:
    """Return an explanation if the only input looks like an image, but has neither 1 nor 3 channels."""
    if len(info.inputs) != 1 or len(info.inputs[0].shape) != 3:
        return ""
    channels = info.inputs[0].shape[-1]
    return f"; images have 1 or 3 channels, so give samples with {channels} channels as arrays in a .npz file"


def describe_inputs(info: ModelInfo) -> str:
    """Return name, shape and type of each input, as messages show them."""
    return ", ".join(f"{tensor.name} {list(tensor.shape)} {tensor.dtype}" for tensor in info.inputs)

"""The facts that a user states about the images of a model, for `orilla export` and `orilla import` alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

from orilla.devices.errors import ConfigError, unknown_name
from orilla.export.model_hints import ANY_RANGE, COLORS, INPUT_RANGES, ModelHints
from orilla.runtime.preprocessing.image import ResizeMode
from orilla.runtime.preprocessing.resize import Interpolation

TORCH_MEAN, TORCH_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)

_NUMBER = r"-?(?:\d+(?:\.\d+)?|\.\d+)"
_RANGE = re.compile(rf"\[?({_NUMBER})\.\.({_NUMBER})\]?")
MINUS = str.maketrans("\u2212\u2013", "--")
"""Minus signs of typeset texts, which users copy."""


@dataclass(frozen=True, slots=True)
class PixelValues:
    """Mean and standard deviation in grey levels, and the channel order that they imply."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    color: str | None = None

    @property
    def unchanged(self) -> bool:
        """Return True if the network takes the grey levels themselves."""
        return set(self.mean) == {0.0} and set(self.std) == {1.0}


def stated_values(hints: ModelHints, channels: int) -> PixelValues | None:
    """Return the mean and standard deviation that the user states, or None if the user states none.

    The mean and the standard deviation are in the units of the value range. Without a value range, they are in grey
    levels 0–255.

    Args:
        hints: Facts that the user states.
        channels: Number of channels of the network's input.

    Raises:
        ConfigError: The value range is unknown, or does not fit the model or the other facts.
    """
    values = None if hints.input_range is None else values_of(hints.input_range, channels)
    if hints.mean is None and hints.std is None:
        return values
    if values is not None and values.color is not None:
        msg = f"`input_range` {hints.input_range} cannot be combined with `mean` and `std`, because it contains them"
        raise ConfigError(msg)
    mean, std = hints.mean or (0.0,), hints.std or (1.0,)
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, channels):
            msg = f"`{name}` has {len(numbers)} values, but the model has {channels} channels: give 1 or {channels}"
            raise ConfigError(msg)
    if values is None:
        _check_units(mean, std)
        return PixelValues(mean, std)
    offset, step = values.mean[0], values.std[0]
    return PixelValues(tuple(offset + step * value for value in mean), tuple(step * value for value in std))


def values_of(name: str, channels: int) -> PixelValues:
    """Return the mean and standard deviation of a value range, such as `0..1`, `-0.5..0.5` or `torch`.

    Raises:
        ConfigError: The range is unknown or empty, or is for three channels and the model takes grey images.
    """
    known = named_values(channels)
    if name in known:
        return known[name]
    if name in INPUT_RANGES:
        msg = f"`input_range` is {name}, which is for three channels, but the model takes grey images"
        raise ConfigError(msg)
    match = _RANGE.fullmatch(name.translate(MINUS).replace(" ", ""))
    if match is None:
        raise unknown_name(name, (*INPUT_RANGES, ANY_RANGE), kind="input range")
    low, high = float(match[1]), float(match[2])
    if low >= high:
        msg = f"`input_range` is {name}: the first number must be smaller than the second one"
        raise ConfigError(msg)
    std = 255 / (high - low)
    return PixelValues((-low * std if low else 0.0,), (std,))


def named_values(channels: int) -> dict[str, PixelValues]:
    """Return the mean and standard deviation of each named value range for this number of channels."""
    ranges = {
        "0..255": PixelValues(),
        "0..1": PixelValues((0.0,), (255.0,)),
        "-1..1": PixelValues((127.5,), (127.5,)),
    }
    if channels == 1:
        return ranges
    torch = PixelValues(TORCH_MEAN, TORCH_STD, "rgb")
    return ranges | {"torch": torch, "caffe": PixelValues(CAFFE_MEAN_BGR, (1.0, 1.0, 1.0), "bgr")}


def describe_values(hints: ModelHints, values: PixelValues) -> str:
    """Describe the value range for the report: its name, or the mean and the standard deviation in grey levels."""
    if hints.mean is None and hints.std is None and hints.input_range is not None:
        return hints.input_range
    for name, known in named_values(3).items():
        if (known.mean, known.std) == (values.mean, values.std):
            return name
    return f"(pixel - {_listed(values.mean)}) / {_listed(values.std)}"


def stated_color(hints: ModelHints, values: PixelValues | None, channels: int, inputs: str) -> str | None:
    """Return the stated colour, else the colour that the value range implies, or None.

    Args:
        hints: Facts that the user states.
        values: The value range, or None if it is unknown.
        channels: Number of channels of the network's input.
        inputs: Description of the network's inputs for messages.

    Raises:
        ConfigError: The colour is unknown, or does not fit the model or the value range.
    """
    implied = None if values is None else values.color
    if hints.color is None:
        return implied
    allowed = ("luma", "mean") if channels == 1 else ("rgb", "bgr")
    if hints.color not in COLORS:
        raise unknown_name(hints.color, COLORS, kind="colour")
    if hints.color not in allowed:
        msg = f"`color` is {hints.color}, but the model takes {inputs}: use {' or '.join(allowed)}"
        raise ConfigError(msg)
    if implied not in (None, hints.color):
        msg = f"`color` is {hints.color}, but `input_range` {hints.input_range} implies {implied}: omit one"
        raise ConfigError(msg)
    return hints.color


def stated_resize(hints: ModelHints) -> ResizeMode | None:
    """Return the resize mode that the user states, or None. Raise `ConfigError` if it is unknown."""
    if hints.resize is not None and hints.resize not in get_args(ResizeMode):
        raise unknown_name(hints.resize, get_args(ResizeMode), kind="resize mode")
    return hints.resize  # type: ignore[return-value]


def resize_options(hints: ModelHints, resize: ResizeMode) -> dict[str, object]:
    """Return the interpolation and the letterbox or crop options that the user states, as arguments of `Preprocess`.

    Raises:
        ConfigError: The interpolation is unknown, or an option has no effect.
    """
    if hints.interpolation is not None and hints.interpolation not in get_args(Interpolation):
        raise unknown_name(hints.interpolation, get_args(Interpolation), kind="interpolation")
    if hints.interpolation is not None and resize == "none":
        msg = "`interpolation` has no effect if `resize` is none: leave it out"
        raise ConfigError(msg)
    interpolation = hints.interpolation or ("halve-linear" if resize == "stretch" else "linear")
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
    return {"interpolation": interpolation, **stated}


def _check_units(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Raise `ConfigError` if the numbers probably refer to pixel values of 0..1, such as PyTorch's for ImageNet."""
    if any(mean) and all(0 <= value <= 1 for value in mean) and all(0 < value < 1 for value in std):
        levels = " and ".join(_listed([255 * value for value in numbers]) for numbers in (mean, std))
        msg = (
            f"`mean` {_listed(mean)} and `std` {_listed(std)} are for pixel values of 0..1: set `input_range` to 0..1 "
            f"as well, or give grey levels, {levels}"
        )
        raise ConfigError(msg)


def _listed(numbers: tuple[float, ...] | list[float]) -> str:
    return ",".join(f"{value:g}" for value in numbers)

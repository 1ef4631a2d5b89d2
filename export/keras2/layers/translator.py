"""Interface for translating a layer: the origin of the file, and methods that translate nested layers and models."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from orilla.export.keras2.config import LayerConfig, ModelConfig
from orilla.export.keras2.origin import Origin
from orilla.export.keras2.part import Part


class Translator(Protocol):
    """Context in which the layers of one file are translated."""

    origin: Origin
    channels_first: bool
    """True if any layer of the file has the channel axis before the spatial axes."""

    def part(self, config: LayerConfig) -> Part:
        """Translate a layer, for example one inside a wrapper. Raise `UntranslatableError` if it cannot be read."""

    def model(self, config: ModelConfig, shapes: list[Any]) -> Any:
        """Build a nested model for inputs of the given shapes. Return the model and its translated layers."""

    def call(self, part: Part, inputs: Any) -> Any:
        """Call a layer with its inputs in the axis order that it needs."""

    def note(self, text: str, layer: LayerConfig) -> None:
        """Record a note for the user on how a layer was translated."""


Translation = Callable[[LayerConfig, Translator], Part]
"""Function that translates one layer."""


def kept(config: LayerConfig, *keys: str, **renamed: str) -> dict[str, Any]:
    """Return the arguments of a Keras 3 layer that the file contains, under the same or a different name.

    Args:
        config: The layer in the file.
        keys: Names that Keras 2 and Keras 3 share. A name that the file does not contain is omitted.
        renamed: For an argument whose name differs, its name in Keras 3 and its name in the file.
    """
    values = {"name": layer_name(config)}
    names = {key: key for key in keys} | renamed
    return values | {new: config.config[old] for new, old in names.items() if config.config.get(old) is not None}


def layer_name(config: LayerConfig) -> str:
    """Return the name of a layer in a form that Keras 3 accepts."""
    return plain_name(config.name)


def plain_name(name: str) -> str:
    """Return a name in a form that Keras 3 and TensorFlow's name scopes accept."""
    plain = re.sub(r"[^A-Za-z0-9_.>-]", "_", name)
    return plain if re.match(r"[A-Za-z0-9.]", plain) else f"layer{plain}"

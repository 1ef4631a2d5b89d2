"""What a translation of a layer needs: the file's origin, and a way to translate the layers inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from orilla.export.keras2.config import LayerConfig, ModelConfig
from orilla.export.keras2.origin import Origin
from orilla.export.keras2.part import Part


class Translator(Protocol):
    """The translation of one file."""

    origin: Origin
    channels_first: bool
    """True if a layer of the file has the channels in front of the spatial axes."""

    def part(self, config: LayerConfig) -> Part:
        """Translate a layer, for example one inside a wrapper. Raise `UntranslatableError` if it cannot be read."""

    def model(self, config: ModelConfig, shapes: list[Any]) -> Any:
        """Build a model inside the file for inputs of these shapes, and return it with its parts."""

    def call(self, part: Part, inputs: Any) -> Any:
        """Call a layer with the order of axes that it needs."""

    def note(self, text: str, layer: LayerConfig) -> None:
        """Report that a layer was translated in a way that the user should know."""


Translation = Callable[[LayerConfig, Translator], Part]
"""Function that translates one layer."""


def kept(config: LayerConfig, *keys: str, **renamed: str) -> dict[str, Any]:
    """Return arguments of a Keras 3 layer: those in the file with the same names, and those with other names.

    Args:
        config: The layer in the file.
        keys: Names that Keras 2 and Keras 3 share. A name that the file does not contain is left out.
        renamed: Name in Keras 3, and name in the file.
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

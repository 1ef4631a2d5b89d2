"""A layer of the file, translated to Keras 3, with its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from orilla.export.keras2.config import LayerConfig

Arrays = list[NDArray[Any]]
Run = Callable[[Any, dict[str, Any]], Any]
"""Function that takes the inputs and the other arguments of a call, and returns the outputs."""


@dataclass(slots=True)
class Part:
    """A layer of the file, translated to Keras 3."""

    config: LayerConfig
    run: Run
    layer: Any = None
    """Keras 3 layer that holds the weights. None if the layer has no weights or is a model."""
    arrange: Callable[[Arrays], Arrays] = list
    """Function that converts the arrays in the file to the order and shapes of Keras 3."""
    in_file: Callable[[], tuple[int, int]] | None = None
    """Function that returns the numbers of trainable and other arrays in the file. None if they are the same as in
    Keras 3."""
    stores: tuple[str, ...] = ("",)
    """Subgroups of the layer's group that contain its arrays in a `.keras` file."""
    channels: int | None = None
    """Number of spatial axes if the original layer is channels-first and the Keras 3 layer is channels-last, else None.
    """
    elementwise: bool = False
    """True if the layer works element by element, so that the order of the axes does not matter."""
    keeps_structure: bool = False
    """True if the layer distinguishes a list with one tensor from the tensor itself."""
    finish: Callable[[], None] | None = None
    """Function that is called after the weights have been set."""
    parts: list[Part] = field(default_factory=list)
    """Inner layers, if this layer is a model or contains one."""
    inner_store: str = ""
    """Group of the model inside this layer, in a `.keras` file."""

    def weights(self) -> list[Any]:
        """Return the variables of the Keras 3 layer."""
        return list(self.layer.weights) if self.layer is not None else []

    def counts(self) -> tuple[int, int]:
        """Return the numbers of trainable and other arrays in the file."""
        if self.in_file is not None:
            return self.in_file()
        if self.layer is None:
            return 0, 0
        trainable = len(self.layer.trainable_weights)
        return trainable, len(self.layer.weights) - trainable


def plain(config: LayerConfig, layer: Any, **options: Any) -> Part:
    """Return a `Part` for a layer that is called with the same arguments in Keras 3 as in Keras 2."""
    return Part(config, lambda inputs, arguments: layer(inputs, **arguments), layer, **options)


def channels_last(tensor: Any, spatial: int) -> Any:
    """Move the channel axis from before the spatial axes to the end."""
    rank = len(tensor.shape)
    channel = rank - spatial - 1
    return ops.transpose(tensor, [axis for axis in range(rank) if axis != channel] + [channel])


def channels_first(tensor: Any, spatial: int) -> Any:
    """Move the channel axis from the end to the position before the spatial axes."""
    rank = len(tensor.shape)
    if rank < spatial + 2:
        return tensor  # The layer has removed the spatial axes.
    order = list(range(rank - 1))
    order.insert(rank - spatial - 1, rank - 1)
    return ops.transpose(tensor, order)


def flat_tensors(value: Any) -> list[Any]:
    """Return the tensors in a structure. Dictionaries are in key order."""
    return list(keras.tree.flatten(value))


def as_sequence(value: Any) -> Sequence[Any]:
    """Return a sequence unchanged, or a list with the single value."""
    return value if isinstance(value, list | tuple) else [value]

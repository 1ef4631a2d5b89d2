"""What must be known of a model before it is converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec


class Tensor(msgspec.Struct, frozen=True):
    """An input or output, without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ModelInfo(msgspec.Struct, frozen=True):
    """Of one Keras model."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    recurrent: tuple[str, ...]
    """Names of the recurrent layers."""
    not_fused: str | None
    """Why the recurrent layers can't all be LiteRT's fused LSTM; None where they can, or there are none."""
    embeddings: tuple[str, ...]
    words: int | None
    """Rows of the smallest embedding's table; None where there is none."""
    convolutions: tuple[str, ...]
    normalises: bool
    """Whether the model scales its input itself."""
    activation: str
    """Of the last layer: `softmax`, `sigmoid`, `linear`, ..., or nothing where it has none."""
    unmapped: tuple[str, ...] = ()
    """What the asked device has no operators for."""


def describe(model: str, out: str, device: str | None = None) -> None:
    """Writes the facts of the model file `model` as JSON.

    Args:
        device: one of `devices.rules.DEVICES`, whose rules the model is held against.

    Raises:
        ValueError: it can't be loaded, has an axis that is not fixed, or weights that are no numbers.
    """
    import numpy as np
    from keras import layers

    from orilla.devices import keras_rules
    from orilla.export.convert.frozen import fixed_shape, flat, input_names, load, output_names
    from orilla.export.convert.lower_recurrent import not_fused, recurrent_layers

    network = load(model)
    every = list(flat(network))
    for weight in network.weights:
        if not np.isfinite(np.asarray(weight)).all():
            msg = f"weight {weight.path} holds NaN or infinity: train it again"
            raise ValueError(msg)
    recurrent = recurrent_layers(network)
    facts = ModelInfo(
        inputs=tuple(
            Tensor(name, fixed_shape(tensor, name)[1:], str(tensor.dtype))
            for name, tensor in zip(input_names(network), network.inputs, strict=True)
        ),
        outputs=tuple(
            Tensor(name, tuple(side or 0 for side in tensor.shape[1:]), str(tensor.dtype))
            for name, tensor in zip(output_names(network), network.outputs, strict=True)
        ),
        parameters=network.count_params(),
        recurrent=tuple(layer.name for layer in recurrent),
        not_fused=next((reason for layer in recurrent if (reason := not_fused(layer)) is not None), None),
        embeddings=tuple(layer.name for layer in every if isinstance(layer, layers.Embedding)),
        words=min((layer.input_dim for layer in every if isinstance(layer, layers.Embedding)), default=None),
        convolutions=tuple(layer.name for layer in every if "Conv" in type(layer).__name__),
        normalises=any(isinstance(layer, layers.Rescaling | layers.Normalization) for layer in every[:4]),
        activation=_activation(network.outputs[0]),
        unmapped=tuple(str(one) for one in keras_rules.check(network, device) if not one.maps) if device else (),
    )
    Path(out).write_bytes(msgspec.json.encode(facts))


def _activation(output: Any) -> str:
    """Of the last operation that computes: behind it, some only change the shape or the type."""
    while True:
        operation, index, place = output._keras_history
        kind, found = type(operation).__name__, getattr(getattr(operation, "activation", None), "__name__", "")
        if hasattr(operation, "outputs"):  # a model inside the model
            output = operation.outputs[place]
        elif kind in ("Softmax", "Sigmoid", "ReLU"):
            return kind.lower()
        elif kind in PASSING or (kind, found) == ("Activation", "linear"):
            output = operation._inbound_nodes[index].input_tensors[0]
        else:
            return found


PASSING = ("Dropout", "Flatten", "Identity", "Reshape", "Cast", "Permute")


def read(path: Path) -> ModelInfo:
    """What `describe` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=ModelInfo)

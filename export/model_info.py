"""Properties of a model that the export needs before the conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

SHAPE_LAYERS = ("Dropout", "Flatten", "Identity", "Reshape", "Cast", "Permute")
"""Layers that do not change any values during inference."""


class Tensor(msgspec.Struct, frozen=True):
    """An input or output of a model. Its shape does not include the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ModelInfo(msgspec.Struct, frozen=True):
    """Properties of one model, by which recipes and options are chosen."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    recurrent: tuple[str, ...]
    """Names of the recurrent layers."""
    not_fused: str | None
    """Reason why LiteRT's fused LSTM cannot replace the recurrent layers. None if it can, or if the model has no
    recurrent layers."""
    embeddings: tuple[str, ...]
    words: int | None
    """Number of rows in the smallest embedding table. None if there is no embedding."""
    convolutions: tuple[str, ...]
    normalises: bool
    """True if the model normalises its input itself."""
    activation: str
    """Activation of the last layer, such as `softmax`, `sigmoid` or `linear`. Empty if that layer has no activation."""
    notes: tuple[str, ...] = ()
    """Notes on how a Keras 1 or 2 file was read, one line each. Empty for Keras 3 files."""
    unmapped: tuple[str, ...] = ()
    """One message for each layer for which the requested device has no operator."""


def describe(model: str, out: str, device: str | None = None) -> None:
    """Write the properties of the model file `model` as JSON.

    Args:
        model: Path of the model file.
        out: Path of the JSON file.
        device: Device whose rules the model is checked against, one of `devices.keras_rules.DEVICES`, or None.

    Raises:
        ValueError: The model cannot be loaded, has an axis without a fixed size, or has weights that are NaN or
            infinite.
    """
    import numpy as np
    from keras import layers

    from orilla.devices import keras_rules
    from orilla.export.convert.frozen import fixed_shape, flat, input_names, load_with_notes, output_names
    from orilla.export.convert.lower_recurrent import not_fused, recurrent_layers

    network, notes = load_with_notes(model)
    layer_list = list(flat(network))
    for weight in network.weights:
        if not np.isfinite(np.asarray(weight)).all():
            msg = f"weight {weight.path} contains NaN or infinity: train the model again"
            raise ValueError(msg)
    recurrent = recurrent_layers(network)
    info = ModelInfo(
        inputs=tuple(
            Tensor(name, fixed_shape(tensor, name)[1:], str(tensor.dtype))
            for name, tensor in zip(input_names(network), network.inputs, strict=True)
        ),
        outputs=tuple(
            Tensor(name, tuple(size or 0 for size in tensor.shape[1:]), str(tensor.dtype))
            for name, tensor in zip(output_names(network), network.outputs, strict=True)
        ),
        parameters=network.count_params(),
        recurrent=tuple(layer.name for layer in recurrent),
        not_fused=next((reason for layer in recurrent if (reason := not_fused(layer)) is not None), None),
        embeddings=tuple(layer.name for layer in layer_list if isinstance(layer, layers.Embedding)),
        words=min((layer.input_dim for layer in layer_list if isinstance(layer, layers.Embedding)), default=None),
        convolutions=tuple(layer.name for layer in layer_list if "Conv" in type(layer).__name__),
        normalises=any(isinstance(layer, layers.Rescaling | layers.Normalization) for layer in layer_list[:4]),
        activation=_activation(network.outputs[0]),
        notes=notes,
        unmapped=tuple(str(advice) for advice in keras_rules.check(network, device) if not advice.maps)
        if device
        else (),
    )
    Path(out).write_bytes(msgspec.json.encode(info))


def _activation(output: Any) -> str:
    """Return the activation of the last operation that computes values.

    Operations after it that change only the shape or the type are skipped.
    """
    while True:
        operation, index, place = output._keras_history  # noqa: SLF001 - Keras has no public equivalent.
        kind = type(operation).__name__
        activation: str = getattr(getattr(operation, "activation", None), "__name__", "")
        if hasattr(operation, "outputs"):  # The operation is a nested model.
            output = operation.outputs[place]
        elif kind in ("Softmax", "Sigmoid", "ReLU"):
            return kind.lower()
        elif kind in SHAPE_LAYERS or (kind, activation) == ("Activation", "linear"):
            output = operation._inbound_nodes[index].input_tensors[0]  # noqa: SLF001 - Keras has no public equivalent.
        else:
            return activation


def read(path: Path) -> ModelInfo:
    """Read the properties that `describe` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=ModelInfo)

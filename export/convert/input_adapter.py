"""Adapt models that Orilla did not train. All image models then take RGB or grey values of 0–255."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np


class InputAdapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model, and the operations that are added before and after it."""

    model: str
    """Path of the model file or folder."""
    input: tuple[int, ...] | None = None
    """Sizes of the input axes that the model does not fix."""
    mean: tuple[float, ...] | None = None
    """Mean of the training images in grey levels: one number, or one per channel of the model. If None, the model does
    not take images, and its input stays unchanged."""
    std: tuple[float, ...] = (1.0,)
    """Standard deviation in grey levels. The model takes `(pixel - mean) / std`."""
    reverse: bool = False
    """True if the channels are reversed before the normalisation, so that the model receives an RGB image as BGR."""
    activation: Literal["softmax", "sigmoid"] | None = None
    """Activation that is added to a model that outputs logits. If None, no activation is added."""


def write_adapter(path: Path, adapter: InputAdapter) -> Path:
    """Write an adapter to a JSON file, and return the path."""
    path.write_bytes(msgspec.json.encode(adapter))
    return path


def read_adapter(path: Path) -> InputAdapter:
    """Read an adapter from a JSON file."""
    return msgspec.json.decode(path.read_bytes(), type=InputAdapter)


def adapted(adapter: InputAdapter, load: Callable[[str], Any]) -> Any:
    """Return the Keras model that an adapter describes.

    Args:
        adapter: Description of the model and of the added operations.
        load: Function that loads a model file.

    Raises:
        ValueError: The model has several inputs, or its number of channels is neither 1 nor 3.
    """
    import keras

    model = load(adapter.model)
    inputs, outputs = model.inputs, model.outputs
    if adapter.input or adapter.mean is not None:
        inputs, outputs = _with_new_input(adapter, model)
    if adapter.activation is not None:
        outputs = [keras.layers.Activation(adapter.activation, name="orilla_answer")(output) for output in outputs]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0], name=model.name
    )


def _with_new_input(adapter: InputAdapter, model: Any) -> tuple[list[Any], list[Any]]:
    """Return a new input with the adapter's size and pixel values, and the model's outputs for it."""
    import keras

    if len(model.inputs) != 1:
        msg = f"the model has {len(model.inputs)} inputs: `input` and `input_range` need a model with one input"
        raise ValueError(msg)
    (original,) = model.inputs
    shape = tuple(original.shape[1:])
    if adapter.input is not None:
        shape = (*adapter.input, *shape[len(adapter.input) :])
    if adapter.mean is None:
        tensor = keras.Input(shape, dtype=original.dtype)
        return [tensor], keras.tree.flatten(model(tensor))
    if len(shape) != 3 or shape[-1] not in (1, 3):
        msg = f"the model's input has shape {list(shape)}, but images need [height,width,3] or [height,width,1]"
        raise ValueError(msg)
    image = keras.Input(shape)
    x = _normalised(image, adapter, shape[-1])
    if original.dtype != image.dtype:
        x = keras.ops.cast(x, original.dtype)
    return [image], keras.tree.flatten(model(x))


def _normalised(image: Any, adapter: InputAdapter, channels: int) -> Any:
    """Normalise RGB or grey values of 0–255 in the same way as the training images.

    The conversion is a 1×1 convolution, because every engine supports and fuses this operator.
    """
    from keras import layers

    mean, std = (np.broadcast_to(np.asarray(numbers, np.float64), channels) for numbers in (adapter.mean, adapter.std))
    if not mean.any() and (std == 1).all() and not adapter.reverse:
        return image
    kernel = np.diag(1 / std)
    if adapter.reverse:
        kernel = kernel[::-1]
    layer = layers.Conv2D(channels, 1, trainable=False, name="orilla_normalise")
    normalised = layer(image)
    layer.set_weights([kernel.reshape(1, 1, channels, channels).astype(np.float32), (-mean / std).astype(np.float32)])
    return normalised

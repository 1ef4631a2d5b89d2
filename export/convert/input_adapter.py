"""Adapt models that Orilla did not train. All image models then take RGB or grey values of 0–255."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

InputRange = Literal["0..255", "0..1", "-1..1", "torch", "caffe"]

INPUT_RANGES: dict[InputRange, str] = {
    "0..255": "pixel values of 0..255 (also if the model normalises its input itself)",
    "0..1": "pixel values divided by 255",
    "-1..1": "pixel values divided by 127.5, minus 1 (as for MobileNet)",
    "torch": "pixel values divided by 255, minus ImageNet's mean, divided by its standard deviation (as for DenseNet "
    "and PyTorch models)",
    "caffe": "pixel values in BGR order, minus ImageNet's mean (as for VGG and ResNet in Keras)",
}
"""Description of each value range of training images. Source of the last two: `keras.applications.imagenet_utils`."""

COLORS: dict[str, str] = {
    "rgb": "red, green and blue (default)",
    "bgr": "blue, green and red, as OpenCV reads images",
    "luma": "one channel, 0.299 R + 0.587 G + 0.114 B (default for one channel)",
    "mean": "one channel, the mean of R, G and B",
}
"""Description of each kind of colour of training images."""

TORCH_MEAN, TORCH_DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])


class InputAdapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model, and the operations that are added before and after it."""

    model: str
    """Path of the model file or folder."""
    input: tuple[int, ...] | None = None
    """Sizes of the input axes that the model does not fix."""
    input_range: InputRange | None = None
    """Value range of the training images. If None, the input stays unchanged."""
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
    if adapter.input or adapter.input_range:
        inputs, outputs = _with_new_input(adapter, model)
    if adapter.activation is not None:
        outputs = [keras.layers.Activation(adapter.activation, name="orilla_answer")(output) for output in outputs]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0], name=model.name
    )


def _with_new_input(adapter: InputAdapter, model: Any) -> tuple[list[Any], list[Any]]:
    """Return a new input with the adapter's size and value range, and the model's outputs for it."""
    import keras

    if len(model.inputs) != 1:
        msg = f"the model has {len(model.inputs)} inputs: `input` and `input_range` need a model with one input"
        raise ValueError(msg)
    (original,) = model.inputs
    shape = tuple(original.shape[1:])
    if adapter.input is not None:
        shape = (*adapter.input, *shape[len(adapter.input) :])
    if adapter.input_range is None:
        tensor = keras.Input(shape, dtype=original.dtype)
        return [tensor], keras.tree.flatten(model(tensor))
    if len(shape) != 3 or shape[-1] not in (1, 3):
        msg = f"the model's input has shape {list(shape)}, but images need [height,width,3] or [height,width,1]"
        raise ValueError(msg)
    image = keras.Input(shape)
    x = _normalised(image, adapter.input_range, shape[-1])
    if original.dtype != image.dtype:
        x = keras.ops.cast(x, original.dtype)
    return [image], keras.tree.flatten(model(x))


def _normalised(image: Any, input_range: InputRange, channels: int) -> Any:
    """Convert RGB or grey values of 0–255 to the value range of the training images.

    The conversion is a 1×1 convolution, because every engine supports and fuses this operator.
    """
    from keras import layers

    if input_range == "0..255":
        return image
    kernel, bias = np.eye(3), np.zeros(3)
    if input_range == "0..1":
        kernel = kernel / 255
    elif input_range == "-1..1":
        kernel, bias = kernel / 127.5, bias - 1
    elif input_range == "torch":
        kernel, bias = np.diag(1 / (255 * TORCH_DEVIATION)), -TORCH_MEAN / TORCH_DEVIATION
    else:
        kernel, bias = kernel[::-1], -CAFFE_MEAN_BGR
    if channels == 1:
        # A grey value is the same in all channels. ImageNet's means and deviations are averaged.
        kernel, bias = kernel.sum().reshape(1, 1) / 3, bias.mean(keepdims=True)
    layer = layers.Conv2D(channels, 1, trainable=False, name="orilla_normalise")
    normalised = layer(image)
    layer.set_weights([kernel.reshape(1, 1, channels, channels).astype(np.float32), bias.astype(np.float32)])
    return normalised

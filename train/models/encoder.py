"""The encoder of MobileNetV2, and the layers that segmentation models and detectors add to it.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), table 2. Every layer has int8
kernels and runs on the Edge TPU: nearest-neighbour upsampling is written as concatenation and reshape, because the Edge
TPU compiler rejects the newer resize operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models.blocks import download_errors, first_line

MOMENTUM = 0.95
"""Momentum of the running batch-norm statistics. With 0.999, the value that Keras uses for this encoder, the
statistics need thousands of steps to adapt."""

FROZEN_UNTIL = "block_6_depthwise"
"""Name of the last frozen layer of a pre-trained encoder. Stride 16 begins at this layer."""


def encode(
    image: keras.KerasTensor, width: float, weights: str | Path | None, taps: Sequence[str]
) -> list[keras.KerasTensor]:
    """Return the outputs of some layers of the encoder.

    Args:
        image: RGB `[N,H,W,3]`, values 0-255. Height and width are multiples of 32.
        width: MobileNetV2's width multiplier alpha.
        weights: `"imagenet"` (downloaded by Keras), a local `no_top` weights file of MobileNetV2, or None.
        taps: The names of the layers, from the first to the last.
    """
    input_hw = image.shape[1:3]
    with download_errors():
        network = keras.applications.MobileNetV2(
            input_shape=(*input_hw, 3),
            alpha=width,
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
        )
    if weights is not None and weights != "imagenet":
        network.load_weights(weights)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = MOMENTUM
    encoder = keras.Model(network.input, [network.get_layer(name).output for name in taps], name="encoder")
    outputs: list[keras.KerasTensor] = encoder(layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image))
    return outputs


def freeze(model: keras.Model) -> None:
    """Freeze the first blocks of the pre-trained encoder and all of its batch-norm layers.

    If the first blocks are also trained on a few hundred images of one town in sunshine, they adapt to this light, and
    the accuracy at dusk decreases in the second half of the training run. Batch-norm statistics of batches with a few
    images are worse than the pre-trained statistics.
    """
    encoder = model.get_layer("encoder").layers
    last_frozen = next(index for index, layer in enumerate(encoder) if layer.name == FROZEN_UNTIL)
    for index, layer in enumerate(encoder):
        if index <= last_frozen or isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def start_weights(options: NetworkOptions) -> str:
    """Return the origin of the initial weights, for the card."""
    return "random" if options.weights is None else Path(options.weights).name


def is_network(weights: str | None) -> bool:
    """Return True if initial weights are those of a whole network, such as `model.keras` of a training run."""
    return weights is not None and weights.endswith(".keras")


def copy_weights(path: str, model: keras.Model) -> None:
    """Copy the weights of a saved network into the layers of `model` with the same names.

    Layers that the saved network does not have, such as auxiliary outputs, keep their weights.

    Raises:
        ValueError: The file is not a network, or the shapes of its layers differ.
    """
    for layer in keras.models.load_model(path, compile=False).layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


@contextmanager
def weights_errors(options: NetworkOptions) -> Iterator[None]:
    """Convert the exceptions for unsuitable weights into a `ConfigError` with a one-line message."""
    try:
        yield
    except (ValueError, OSError) as error:
        if options.weights is None or isinstance(error, ConfigError):
            raise
        msg = f"cannot use weights={options.weights} with width={options.width}: {first_line(error)}"
        raise ConfigError(msg) from error


def scaled(channels: int, width: float) -> int:
    """Scale a number of channels by the width multiplier, and round it to a multiple of 8.

    Int8 kernels are fastest with multiples of 8.
    """
    return max(16, 8 * round(channels * width / 8))


def pointwise(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """Return the output of a 1x1 convolution with batch norm and ReLU6."""
    x = layers.Conv2D(channels, 1, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def separable(x: keras.KerasTensor, channels: int, name: str, *, kernel: int = 3, stride: int = 1) -> keras.KerasTensor:
    """Return the output of a depthwise-separable convolution with batch norm and ReLU6."""
    x = layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_depthwise_bn")(x)
    return pointwise(x, channels, name)


def double(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return the input `[N,H,W,C]` with each pixel repeated in both directions, `[N,2H,2W,C]`."""
    _, height, width, channels = x.shape
    x = layers.Concatenate(name=f"{name}_columns")([x, x])
    x = layers.Reshape((height, 2 * width, channels), name=f"{name}_wide")(x)
    x = layers.Concatenate(axis=2, name=f"{name}_rows")([x, x])
    return layers.Reshape((2 * height, 2 * width, channels), name=name)(x)

"""The road model: a U-Net on the first thirteen blocks of MobileNetV2, with under one million parameters.

The encoder is the network of Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), table 2,
up to stride 16. The decoder merges the skip connections at strides 8, 4 and 2 (Ronneberger et al., "U-Net", 2015) with
depthwise-separable convolutions. Every layer has int8 kernels and runs on the Edge TPU: nearest-neighbour upsampling is
written as concatenation and reshape, because the Edge TPU compiler rejects the newer resize operators.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.data.augment import RandomLight
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import download_errors, first_line

INPUT_HW = (224, 352)
"""Input height and width in pixels. The aspect ratio of 1.57 lies between the usual 4:3 and 16:9 of cameras."""

OUTPUT_STRIDE = 2
"""Number of input pixels per cell of the output grid, in each direction."""

DECODER = (64, 48, 32)
"""Number of decoder channels at strides 8, 4 and 2, for width 1."""

CONTEXT = 128
"""Number of channels at stride 32, for width 1."""

MOMENTUM = 0.95
"""Momentum of the running batch-norm statistics. With 0.999, the value that Keras uses for this encoder, the
statistics need thousands of steps to adapt."""

FROZEN_UNTIL = "block_6_depthwise"
"""Name of the last frozen layer of a pre-trained encoder. Stride 16 begins at this layer."""

ENCODER_END = "block_12_add"
SKIPS = ("block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu")
"""Names of the encoder layers at strides 2, 4 and 8 whose activations the decoder receives as skip connections."""


def build(
    *,
    classes: int = 0,
    weights: str | Path | None = None,
    input_hw: tuple[int, int] = INPUT_HW,
    width: float = 1.0,
) -> keras.Model:
    """Build the network to train.

    Args:
        classes: The number of auxiliary per-class logits, or 0.
        weights: `"imagenet"` (downloaded by Keras), a local `no_top` weights file of MobileNetV2, or None.
        input_hw: Height and width in pixels, multiples of 32.
        width: MobileNetV2's width multiplier alpha, which also scales the decoder's channels.

    Returns:
        A model from RGB `[N,H,W,3]`, values 0-255, to logits `[N,H/2,W/2,1+classes]`. Channel 0 is the road.
    """
    image = keras.Input((*input_hw, 3), name="image")
    encoder = _encoder(input_hw, width, weights)
    *skips, x = encoder(layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image))
    x = _context(x, _scaled(CONTEXT, width))
    for stride, channels, skip in zip((8, 4, 2), DECODER, reversed(skips), strict=True):
        x = _merge(x, skip, _scaled(channels, width), f"up{stride}")
    logits = [layers.Conv2D(1, 1, name="road_logit")(x)]
    if classes:
        logits.append(layers.Conv2D(classes, 1, name="class_logits")(x))
    outputs = layers.Concatenate(name="logits")(logits) if classes else logits[0]
    return keras.Model(image, outputs, name="road")


def deployable(model: keras.Model) -> keras.Model:
    """Return the part of a trained model that is exported.

    It maps images `[N,H,W,3]` to road probabilities `[N,H/2,W/2,1]`.
    """
    logit = model.get_layer("road_logit").output
    return keras.Model(model.input, layers.Activation("sigmoid", name="road")(logit), name="road")


def build_network(options: NetworkOptions) -> Network:
    """Build the network to train and the part of it to export. Freeze layers with pre-trained weights.

    Raises:
        ConfigError: The weights cannot be downloaded, or do not fit the width.
    """
    weights = options.weights
    input_hw = (options.input[0], options.input[1])
    try:
        model = build(classes=options.classes, weights=weights, input_hw=input_hw, width=options.width)
    except (ValueError, OSError) as error:
        if weights is None or isinstance(error, ConfigError):
            raise
        msg = f"cannot use weights={weights} with width={options.width}: {first_line(error)}"
        raise ConfigError(msg) from error
    if weights is not None:
        freeze(model)
    start_weights = "random" if weights is None else Path(weights).name
    return Network(model, start_weights, deployed=deployable(model))


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


def _encoder(input_hw: tuple[int, int], width: float, weights: str | Path | None) -> keras.Model:
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
    taps = [network.get_layer(name).output for name in (*SKIPS, ENCODER_END)]
    return keras.Model(network.input, taps, name="encoder")


def _scaled(channels: int, width: float) -> int:
    """Scale a number of channels by the width multiplier, and round it to a multiple of 8.

    Int8 kernels are fastest with multiples of 8.
    """
    return max(16, 8 * round(channels * width / 8))


def _context(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Enlarge the receptive field at stride 32 to most of the image, and add the result at stride 16."""
    y = _separable(x, channels, "context_down", stride=2)
    y = _separable(y, channels, "context_a", kernel=5)
    y = _separable(y, channels, "context_b", kernel=5)
    y = layers.Conv2D(x.shape[-1], 1, use_bias=False, name="context_project")(y)
    y = layers.BatchNormalization(momentum=MOMENTUM, name="context_project_bn")(y)
    return layers.Add(name="context")([x, double(y, "context_up")])


def _merge(x: keras.KerasTensor, skip: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    x = _pointwise(x, channels, f"{name}_reduce")
    skip = _pointwise(skip, channels // 2, f"{name}_skip")
    x = layers.Concatenate(name=f"{name}_join")([double(x, f"{name}_double"), skip])
    x = _separable(x, channels, f"{name}_a")
    return _separable(x, channels, f"{name}_b")


def _pointwise(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 1, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _separable(
    x: keras.KerasTensor, channels: int, name: str, *, kernel: int = 3, stride: int = 1
) -> keras.KerasTensor:
    x = layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_depthwise_bn")(x)
    return _pointwise(x, channels, name)


def double(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return the input `[N,H,W,C]` with each pixel repeated in both directions, `[N,2H,2W,C]`."""
    _, height, width, channels = x.shape
    x = layers.Concatenate(name=f"{name}_columns")([x, x])
    x = layers.Reshape((height, 2 * width, channels), name=f"{name}_wide")(x)
    x = layers.Concatenate(axis=2, name=f"{name}_rows")([x, x])
    return layers.Reshape((2 * height, 2 * width, channels), name=name)(x)


PLANS = {
    "road": Plan(
        "segment",
        build_network,
        INPUT_HW,
        (Phase(60, 1e-3),),
        batch=8,
        augment=RandomLight,
        minimum=(64, 64),
        multiple=32,
    )
}

"""Segmentation models: a U-Net on the first thirteen blocks of MobileNetV2, with under one million parameters.

The encoder is MobileNetV2 up to stride 16. The decoder merges the skip connections at strides 8, 4 and 2 (Ronneberger
et al., "U-Net", 2015) with depthwise-separable convolutions. The model `segment` distinguishes all classes of a data
set, and the model `road` finds the road only.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from orilla.train.data.augment import RandomColour, RandomLight
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models import from_bundle
from orilla.train.models.encoder import (
    MOMENTUM,
    copy_weights,
    double,
    encode,
    freeze,
    is_network,
    pointwise,
    scaled,
    separable,
    start_weights,
    weights_errors,
)

INPUT_HW = (224, 352)
"""Input height and width of the road model in pixels. The aspect ratio of 1.57 lies between the usual 4:3 and 16:9 of
cameras."""

ALL_INPUT_HW = (288, 384)
"""Input height and width of the model for all classes. It is larger, because poles and signs are thin."""

OUTPUT_STRIDE = 2
"""Number of input pixels per cell of the output grid, in each direction."""

DECODER = (64, 48, 32)
"""Number of decoder channels at strides 8, 4 and 2, for width 1."""

CONTEXT = 128
"""Number of channels at stride 32, for width 1."""

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
    """Build the road network to train.

    Args:
        classes: The number of auxiliary per-class logits, or 0.
        weights: `"imagenet"` (downloaded by Keras), a local `no_top` weights file of MobileNetV2, or None.
        input_hw: Height and width in pixels, multiples of 32.
        width: MobileNetV2's width multiplier alpha, which also scales the decoder's channels.

    Returns:
        A model from RGB `[N,H,W,3]`, values 0-255, to logits `[N,H/2,W/2,1+classes]`. Channel 0 is the road.
    """
    image = keras.Input((*input_hw, 3), name="image")
    x = _features(image, width, weights)
    logits = [layers.Conv2D(1, 1, name="road_logit")(x)]
    if classes:
        logits.append(layers.Conv2D(classes, 1, name="class_logits")(x))
    outputs = layers.Concatenate(name="logits")(logits) if classes else logits[0]
    return keras.Model(image, outputs, name="road")


def deployable(model: keras.Model) -> keras.Model:
    """Return the part of a trained road network that is exported.

    It maps images `[N,H,W,3]` to road probabilities `[N,H/2,W/2,1]`.
    """
    logit = model.get_layer("road_logit").output
    return keras.Model(model.input, layers.Activation("sigmoid", name="road")(logit), name="road")


def build_road(options: NetworkOptions) -> Network:
    """Build the road network to train and the part of it to export. Freeze layers with pre-trained weights.

    Raises:
        ConfigError: The weights cannot be downloaded, or do not fit the width.
    """
    with weights_errors(options):
        model = build(
            classes=options.classes,
            weights=_encoder_weights(options),
            input_hw=(options.input[0], options.input[1]),
            width=options.width,
        )
        _continue(model, options)
    if options.weights is not None:
        freeze(model)
    return Network(model, start_weights(options), deployed=deployable(model))


def build_all(options: NetworkOptions) -> Network:
    """Build the network for all classes. Freeze layers with pre-trained weights.

    It maps images `[N,H,W,3]` to logits `[N,H/2,W/2,classes]`. The Edge TPU has no softmax over a grid, so the softmax
    is computed outside the network.

    Raises:
        ConfigError: The weights cannot be downloaded, or do not fit the width.
    """
    image = keras.Input((*options.input, 3), name="image")
    with weights_errors(options):
        x = _features(image, options.width, _encoder_weights(options))
        logits = layers.Conv2D(options.classes, 1, dtype="float32", name="class_logits")(x)
        model = keras.Model(image, logits, name="segment")
        _continue(model, options)
    if options.weights is not None:
        freeze(model)
    # The exported network is a separate model, because the trained model contains its loss and optimizer.
    return Network(model, start_weights(options), deployed=keras.Model(image, logits, name="segment"))


def _encoder_weights(options: NetworkOptions) -> str | None:
    """Return the weights of the encoder, or None if all weights are those of another network."""
    whole = is_network(options.weights) or from_bundle.is_bundle(options.weights)
    return None if whole else options.weights


def _continue(model: keras.Model, options: NetworkOptions) -> None:
    """Copy the weights of a saved network or of a bundle, if the options name one."""
    if is_network(options.weights):
        copy_weights(str(options.weights), model)
    elif from_bundle.is_bundle(options.weights):
        from_bundle.copy_bundle(str(options.weights), model)


def _features(image: keras.KerasTensor, width: float, weights: str | Path | None) -> keras.KerasTensor:
    """Return the last features of the decoder, `[N,H/2,W/2,C]`."""
    *skips, x = encode(image, width, weights, (*SKIPS, ENCODER_END))
    x = _context(x, scaled(CONTEXT, width))
    for stride, channels, skip in zip((8, 4, 2), DECODER, reversed(skips), strict=True):
        x = _merge(x, skip, scaled(channels, width), f"up{stride}")
    return x


def _context(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Enlarge the receptive field at stride 32 to most of the image, and add the result at stride 16."""
    y = separable(x, channels, "context_down", stride=2)
    y = separable(y, channels, "context_a", kernel=5)
    y = separable(y, channels, "context_b", kernel=5)
    y = layers.Conv2D(x.shape[-1], 1, use_bias=False, name="context_project")(y)
    y = layers.BatchNormalization(momentum=MOMENTUM, name="context_project_bn")(y)
    return layers.Add(name="context")([x, double(y, "context_up")])


def _merge(x: keras.KerasTensor, skip: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    x = pointwise(x, channels, f"{name}_reduce")
    skip = pointwise(skip, channels // 2, f"{name}_skip")
    x = layers.Concatenate(name=f"{name}_join")([double(x, f"{name}_double"), skip])
    x = separable(x, channels, f"{name}_a")
    return separable(x, channels, f"{name}_b")


PLANS = {
    "segment": Plan(
        "segment",
        build_all,
        ALL_INPUT_HW,
        (Phase(60, 2e-3),),
        batch=8,
        augment=RandomColour,
        minimum=(64, 64),
        multiple=32,
    ),
    "road": Plan(
        "segment",
        build_road,
        INPUT_HW,
        (Phase(60, 1e-3),),
        batch=8,
        augment=RandomLight,
        minimum=(64, 64),
        multiple=32,
        label="road",
    ),
}

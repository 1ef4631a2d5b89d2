"""MobileNetV2, pre-trained: first the head on frozen features, then everything above block 12.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018).
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.data.augment import RandomAffine
from orilla.train.jobs.plan import Build, Network, Plan, Stage
from orilla.train.models.blocks import answer, downloads, image_input

FEATURES, FINE = "pool", "block_12_add"
"""Last frozen layers of the two stages."""


def build(options: Build) -> Network:
    """Build the network and load its weights."""
    base = _pretrained(options)
    image = image_input(options)
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image)
    # The base is built again on this input, so that the whole is one flat graph that can be cut at any layer.
    flat = keras.applications.MobileNetV2(input_tensor=x, include_top=False, weights=None)
    for layer in flat.layers:
        if layer.weights and layer.name != "normalise":
            layer.set_weights(base.get_layer(layer.name).get_weights())
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False  # statistics of a million images would be worse after training on few
    x = layers.GlobalAveragePooling2D(name=FEATURES)(flat.output)
    x = layers.Dropout(0.3 if options.dropout is None else options.dropout, name="dropout")(x)
    started = "random" if options.weights is None else Path(options.weights).name
    return Network(keras.Model(image, answer(x, options.classes), name="mobilenet"), started)


def _pretrained(options: Build) -> keras.Model:
    weights = options.weights
    with downloads():
        base = keras.applications.MobileNetV2(
            input_shape=(*options.input, 3), include_top=False, weights="imagenet" if weights == "imagenet" else None
        )
    if weights not in (None, "imagenet"):
        try:
            base.load_weights(weights)
        except (ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            msg = f"cannot use --weights {weights}: {reason}"
            raise ConfigError(msg) from error
    return base


def gentle() -> RandomAffine:
    """Return changes that keep the features of a pre-trained network useful."""
    return RandomAffine(rotation=15.0, shift=0.1, shear=0.1, zoom=0.15)


PLANS = {
    "mobilenet": Plan(
        "classify",
        build,
        (224, 224),
        (Stage(10, 1e-3, FEATURES, views=3), Stage(5, 2e-4, FINE, views=3)),
        augment=gentle,
        minimum=(32, 32),
    ),
}

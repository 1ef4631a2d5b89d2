"""Pre-trained MobileNetV2: first the head is trained on frozen features, then every layer above block 12.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018).
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from orilla.devices.errors import ConfigError
from orilla.train.data.augment import AffineRanges, RandomAffine
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import download_errors, first_line, image_input, output_layer

FEATURES, FINE_TUNED_AFTER = "pool", "block_12_add"
"""Names of the last frozen layers of the first and of the second phase."""


def build(options: NetworkOptions) -> Network:
    """Build the network.

    Raises:
        ConfigError: The weights cannot be downloaded, or do not match the network.
    """
    base = _pretrained(options)
    image = image_input(options)
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image)
    # Build the network a second time, on this input. A call of `base` would create a single nested layer, so the phases
    # could not be separated at an inner layer.
    flat = keras.applications.MobileNetV2(input_tensor=x, include_top=False, weights=None)
    for layer in flat.layers:
        if layer.weights and layer.name != "normalise":
            layer.set_weights(base.get_layer(layer.name).get_weights())
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = (
                False  # The batch-norm statistics of a small data set would be worse than those of ImageNet.
            )
    x = layers.GlobalAveragePooling2D(name=FEATURES)(flat.output)
    x = layers.Dropout(0.3 if options.dropout is None else options.dropout, name="dropout")(x)
    start_weights = "random" if options.weights is None else Path(options.weights).name
    return Network(keras.Model(image, output_layer(x, options.classes), name="mobilenet"), start_weights)


def _pretrained(options: NetworkOptions) -> keras.Model:
    weights = options.weights
    with download_errors():
        base = keras.applications.MobileNetV2(
            input_shape=(*options.input, 3), include_top=False, weights="imagenet" if weights == "imagenet" else None
        )
    if weights not in (None, "imagenet"):
        try:
            base.load_weights(weights)
        except (ValueError, OSError) as error:
            msg = f"cannot use weights={weights}: {first_line(error)}"
            raise ConfigError(msg) from error
    return base


def gentle_changes() -> RandomAffine:
    """Return augmentation that is weak enough for the features of a pre-trained network."""
    return RandomAffine(AffineRanges(rotation=15.0, shift=0.1, shear=0.1, zoom=0.15))


PLANS = {
    "mobilenet": Plan(
        "classify",
        build,
        (224, 224),
        (Phase(10, 1e-3, FEATURES, views=3), Phase(5, 2e-4, FINE_TUNED_AFTER, views=3)),
        augment=gentle_changes,
        minimum=(32, 32),
    ),
}

"""A 3x3 convolution with 64 channels, then dense layers of 200 and 100 units with batch norm and SELU."""

from __future__ import annotations

import keras
from keras import layers

from orilla.train.data.augment import AffineRanges, RandomAffine
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import grey, image_input, output_layer
from orilla.train.models.mlp import dense_bn


def build(options: NetworkOptions) -> Network:
    """Build the network."""
    image = image_input(options)
    x = layers.Conv2D(64, 3, use_bias=False, kernel_initializer="lecun_normal", name="conv")(grey(image))
    x = layers.BatchNormalization(momentum=0.95, name="conv_bn")(x)
    x = layers.Activation("selu", name="conv_selu")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.3 if options.dropout is None else options.dropout, name="dropout")(x)
    x = dense_bn(x, None)
    return Network(keras.Model(image, output_layer(x, options.classes), name="cnn_bn"))


def digit_changes() -> RandomAffine:
    """Return the augmentation for digits. It never flips them, because a flipped digit is a different symbol."""
    return RandomAffine(AffineRanges(rotation=10.0, shift=0.08, shear=0.15, zoom=0.1, mirror=False, share=0.5))


PLANS = {
    "cnn-bn": Plan(
        "classify",
        build,
        (28, 28),
        (Phase(20, 2e-3),),
        batch=128,
        weight_decay=1e-2,
        augment=digit_changes,
        minimum=(4, 4),
    )
}

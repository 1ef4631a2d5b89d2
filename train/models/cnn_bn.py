"""A 3x3 convolution with 64 channels, then dense 200 and 100 with batch norm and SELU."""

from __future__ import annotations

import keras
from keras import layers

from orilla.train.data.augment import RandomAffine
from orilla.train.jobs.plan import Build, Network, Plan, Stage
from orilla.train.models.blocks import answer, grey, image_input
from orilla.train.models.mlp import dense_bn


def build(options: Build) -> Network:
    """Build the network."""
    image = image_input(options)
    x = layers.Conv2D(64, 3, use_bias=False, kernel_initializer="lecun_normal", name="conv")(grey(image))
    x = layers.BatchNormalization(momentum=0.95, name="conv_bn")(x)
    x = layers.Activation("selu", name="conv_selu")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.3 if options.dropout is None else options.dropout, name="dropout")(x)
    x = dense_bn(x, None)
    return Network(keras.Model(image, answer(x, options.classes), name="cnn_bn"))


def as_written_by_others() -> RandomAffine:
    """Return changes that make digits slanted, larger and shifted. Mirroring would turn them into other signs."""
    return RandomAffine(rotation=10.0, shift=0.08, shear=0.15, zoom=0.1, mirror=False, share=0.5)


PLANS = {
    "cnn-bn": Plan(
        "classify",
        build,
        (28, 28),
        (Stage(20, 2e-3),),
        batch=128,
        weight_decay=1e-2,
        augment=as_written_by_others,
        minimum=(4, 4),
    )
}

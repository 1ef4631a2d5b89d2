"""The convnet of the cats-and-dogs course.

It has four convolutions with 32, 64, 128 and 128 channels, each followed by max-pooling, then dropout and a dense layer
of 512 units.

Source: Chollet, "Deep Learning with Python" (2017), section 5.2.
"""

from __future__ import annotations

import keras
from keras import layers

from orilla.train.data.augment import RandomAffine
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import image_input, output_layer

CHANNELS = (32, 64, 128, 128)


def build(options: NetworkOptions) -> Network:
    """Build the network."""
    image = image_input(options)
    x = layers.Rescaling(1 / 255, name="normalise")(image)
    for index, channels in enumerate(CHANNELS, 1):
        x = layers.Conv2D(channels, 3, activation="relu", kernel_initializer="he_normal", name=f"conv{index}")(x)
        x = layers.MaxPooling2D(name=f"pool{index}")(x)
    x = layers.GlobalAveragePooling2D(name="gap")(x) if options.head == "gap" else layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.5 if options.dropout is None else options.dropout, name="dropout")(x)
    x = layers.Dense(512, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    return Network(keras.Model(image, output_layer(x, options.classes, binary=True), name="convnet"))


PLANS = {
    "convnet": Plan(
        "classify", build, (150, 150), (Phase(100, 1e-3),), augment=RandomAffine, head="flatten", minimum=(46, 46)
    ),
}

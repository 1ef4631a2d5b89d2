"""A small network that predicts numbers from an image, such as the steering angle that keeps the lane.

The network has five convolutions with stride 2 and a dense layer, which receives the features with their positions. The
order of the layers is that of Bojarski et al., "End to End Learning for Self-Driving Cars" (2016), with 3x3 kernels,
batch norm and fewer channels. Every layer has int8 kernels. The outputs are normalised: -1 and 1 are the ends of the
range of each value.
"""

from __future__ import annotations

import keras
from keras import layers

from orilla.train.data.augment import RandomLight
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import image_input

CHANNELS = (16, 24, 32, 48, 64)
UNITS = 64
"""Number of units in the dense layer."""

MOMENTUM = 0.95
"""Momentum of the running batch-norm statistics. With Keras' default, 0.99, the statistics would still be inaccurate
after a short training run."""


def build(options: NetworkOptions) -> Network:
    """Build the network. `options.classes` is the number of values."""
    image = image_input(options)
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(image)
    for index, channels in enumerate(CHANNELS, 1):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False, name=f"conv{index}")(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, name=f"conv{index}_bn")(x)
        x = layers.ReLU(6.0, name=f"conv{index}_relu")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.1 if options.dropout is None else options.dropout, name="dropout")(x)
    x = layers.Dense(UNITS, activation="relu", kernel_initializer="he_normal", name="dense")(x)
    values = layers.Dense(options.classes, dtype="float32", name="values")(x)
    return Network(keras.Model(image, values, name="regress"))


PLANS = {
    "regress": Plan(
        "regress", build, (96, 128), (Phase(30, 2e-3),), weight_decay=1e-3, augment=RandomLight, minimum=(32, 32)
    )
}

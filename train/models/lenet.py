"""LeNet as in the TensorFlow course.

It has two 5x5 convolutions with 32 and 64 channels, each followed by max-pooling, and a dense layer of 256 units.

Source of the architecture: LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998).
"""

from __future__ import annotations

import keras
from keras import layers

from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import grey, image_input, output_layer


def build(options: NetworkOptions) -> Network:
    """Build the network."""
    image = image_input(options)
    x = grey(image)
    for index, channels in enumerate((32, 64), 1):
        x = layers.Conv2D(channels, 5, padding="same", activation="relu", name=f"conv{index}")(x)
        x = layers.MaxPooling2D(name=f"pool{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5 if options.dropout is None else options.dropout, name="dropout")(x)
    return Network(keras.Model(image, output_layer(x, options.classes), name="lenet"))


PLANS = {"lenet": Plan("classify", build, (28, 28), (Phase(6, 2e-3),), batch=128, minimum=(4, 4))}

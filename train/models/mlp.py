"""Three multi-layer perceptrons for 28x28 digit images: with sigmoid, with ReLU, and with batch norm and SELU."""

from __future__ import annotations

import keras
from keras import layers

from orilla.train.data.augment import AffineRanges, RandomAffine
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.blocks import grey, image_input, output_layer


def sigmoid(options: NetworkOptions) -> Network:
    """Build a 784-10-10 network with sigmoid activations."""
    image = image_input(options)
    x = layers.Flatten(name="flatten")(grey(image))
    x = layers.Dense(10, activation="sigmoid", name="dense")(x)
    return Network(keras.Model(image, output_layer(x, options.classes), name="mlp_sigmoid"))


def relu(options: NetworkOptions) -> Network:
    """Build a 784-100-10 network with ReLU activations."""
    image = image_input(options)
    x = layers.Flatten(name="flatten")(grey(image))
    x = layers.Dense(100, activation="relu", name="dense")(x)
    return Network(keras.Model(image, output_layer(x, options.classes), name="mlp_relu"))


def selu(options: NetworkOptions) -> Network:
    """Build a 784-200-100-10 network with batch norm before each SELU.

    Source of SELU: Klambauer et al., "Self-Normalizing Neural Networks" (2017).
    """
    image = image_input(options)
    x = dense_bn(layers.Flatten(name="flatten")(grey(image)), options.dropout)
    return Network(keras.Model(image, output_layer(x, options.classes), name="mlp_selu"))


def dense_bn(x: keras.KerasTensor, dropout: float | None) -> keras.KerasTensor:
    """Return the output of dense layers of 200 and 100 units, each with batch norm and SELU."""
    for index, units in enumerate((200, 100), 1):
        x = layers.Dense(units, use_bias=False, kernel_initializer="lecun_normal", name=f"dense{index}")(x)
        x = layers.BatchNormalization(momentum=0.95, name=f"dense{index}_bn")(x)
        x = layers.Activation("selu", name=f"dense{index}_selu")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{index}")(x)
    return x


def digit_changes() -> RandomAffine:
    """Return augmentation with changes as large as the differences between people's handwriting.

    Half of the digits stay unchanged.
    """
    return RandomAffine(AffineRanges(rotation=8.0, shift=0.06, shear=0.1, zoom=0.1, mirror=False, share=0.5))


PLANS = {
    "mlp-sigmoid": Plan("classify", sigmoid, (28, 28), (Phase(30, 1e-2),), batch=64, weight_decay=0.0),
    "mlp-relu": Plan("classify", relu, (28, 28), (Phase(20, 2e-3),), batch=64, weight_decay=1e-3),
    "mlp-selu": Plan(
        "classify", selu, (28, 28), (Phase(20, 2e-3),), batch=64, weight_decay=1e-2, augment=digit_changes
    ),
}

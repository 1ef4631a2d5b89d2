"""Functions that translate layers that need few changes: activations, reshaping, noise, padding and cropping."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from orilla.export.keras2.activations import activation_of, number, relu_arguments
from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.layers.gone import LegacyResize, ThresholdedReLU
from orilla.export.keras2.layers.translator import Translation, Translator, kept, layer_name
from orilla.export.keras2.origin import UntranslatableError
from orilla.export.keras2.part import Arrays, Part, plain


def activation(config: LayerConfig, _: Translator) -> Part:
    """Translate `Activation`. A softmax is not element-wise, because it depends on which axis is last."""
    function = activation_of(config.config.get("activation"))
    elementwise = "softmax" not in str(config.config.get("activation"))
    return plain(config, layers.Activation(function, name=layer_name(config)), elementwise=elementwise)


def dense(config: LayerConfig, _: Translator) -> Part:
    """Translate `Dense`."""
    function = activation_of(config.config.get("activation"))
    return plain(config, layers.Dense(**kept(config, "units", "use_bias"), activation=function))


def embedding(config: LayerConfig, _: Translator) -> Part:
    """Translate `Embedding`. Its `input_length` is ignored, because it only declares a shape."""
    return plain(config, layers.Embedding(**kept(config, "input_dim", "output_dim", "mask_zero")))


def relu(config: LayerConfig, _: Translator) -> Part:
    """Translate `ReLU`."""
    return plain(config, layers.ReLU(**relu_arguments(config.config), name=layer_name(config)), elementwise=True)


def leaky_relu(config: LayerConfig, _: Translator) -> Part:
    """Translate `LeakyReLU`, whose `alpha` is called `negative_slope` in Keras 3."""
    slope = number(config.config.get("alpha", 0.3))
    return plain(config, layers.LeakyReLU(negative_slope=slope, name=layer_name(config)), elementwise=True)


def elu(config: LayerConfig, _: Translator) -> Part:
    """Translate `ELU`."""
    layer = layers.ELU(alpha=number(config.config.get("alpha", 1.0)), name=layer_name(config))
    return plain(config, layer, elementwise=True)


def thresholded_relu(config: LayerConfig, _: Translator) -> Part:
    """Translate `ThresholdedReLU`, which Keras 3 does not have."""
    theta = number(config.config.get("theta", 1.0))
    return plain(config, ThresholdedReLU(theta, name=layer_name(config)), elementwise=True)


def prelu(config: LayerConfig, _: Translator) -> Part:
    """Translate `PReLU`. Keras 1 did not save which axes share their slopes, so the slopes are broadcast."""
    layer = layers.PReLU(**kept(config, "shared_axes"))

    def arrange(arrays: Arrays) -> Arrays:
        needed = tuple(layer.alpha.shape)
        return [np.broadcast_to(array, needed) if array.ndim == len(needed) else array for array in arrays]

    return plain(config, layer, arrange=arrange)


def softmax(config: LayerConfig, _: Translator) -> Part:
    """Translate `Softmax`."""
    axis = config.config.get("axis", -1)
    return plain(config, layers.Softmax(axis=axis, name=layer_name(config)))


def inactive(config: LayerConfig, _: Translator) -> Part:
    """Translate a layer that acts only during training: dropout, noise, regularisation, augmentation."""
    layer = layers.Identity(name=layer_name(config))

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        if arguments.get("training"):
            msg = "it is called with training=True, so the outputs of the model are random"
            raise UntranslatableError(msg)
        return layer(inputs)

    return Part(config, run, layer, elementwise=True)


def flatten(config: LayerConfig, _: Translator) -> Part:
    """Translate `Flatten`. If the channels are first, Keras 2.2 and later move them to the end before flattening."""
    layer = layers.Flatten(name=layer_name(config))
    return plain(config, layer, channels=SPATIAL_OF_ANY if first(config) else None)


SPATIAL_OF_ANY = -1
"""Value of `Part.channels` for a layer in which all axes after the channel axis are spatial."""


def first(config: LayerConfig) -> bool:
    """Return True if a layer has the channel axis before the spatial axes."""
    return config.config.get("data_format") == "channels_first"


def spatial(kind: Any, rank: int, *keys: str) -> Translation:
    """Return the function that translates a layer without weights that works on the spatial axes.

    Args:
        kind: Class of Keras 3.
        rank: Number of spatial axes.
        keys: Arguments that Keras 2 and Keras 3 share.
    """

    def translate(config: LayerConfig, _: Translator) -> Part:
        arguments = kept(config, *keys)
        if "data_format" in config.config and rank > 1:
            arguments["data_format"] = "channels_last"
        return plain(config, kind(**arguments), channels=rank if first(config) else None)

    return translate


def shared(kind: Any, *keys: str) -> Translation:
    """Return the function that translates a layer whose arguments are the same in Keras 2 and Keras 3."""
    return lambda config, _: plain(config, kind(**kept(config, *keys)))


def up_sampling_2d(config: LayerConfig, translator: Translator) -> Part:
    """Translate `UpSampling2D`. Its bilinear interpolation did not align the pixel centres until Keras 2.3."""
    method, origin = config.config.get("interpolation") or "nearest", translator.origin
    options = {"channels": 2 if first(config) else None}
    if method == "bilinear" and not origin.in_tensorflow:
        return plain(config, LegacyResize(**kept(config, "size")), **options)
    if method == "bilinear" and origin.text == "2.2.4-tf":
        translator.note(
            "is read as TensorFlow 1.14 to 2.1 computed it; TensorFlow 1.13 did not align the pixel centres", config
        )
    layer = layers.UpSampling2D(**kept(config, "size", "interpolation"), data_format="channels_last")
    return plain(config, layer, **options)


def cropping_or_padding(kind: Any, rank: int, key: str) -> Translation:
    """Return the function that translates a cropping or padding layer.

    Args:
        kind: Class of Keras 3.
        rank: Number of spatial axes.
        key: Name of the argument with the amounts: a number, a pair, or a list of pairs.
    """
    return spatial(kind, rank, key)


ROWS: dict[str, Translation] = {
    "Activation": activation,
    "Dense": dense,
    "Embedding": embedding,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "ELU": elu,
    "ThresholdedReLU": thresholded_relu,
    "PReLU": prelu,
    "Softmax": softmax,
    "Flatten": flatten,
    "Reshape": shared(layers.Reshape, "target_shape"),
    "Permute": shared(layers.Permute, "dims"),
    "RepeatVector": shared(layers.RepeatVector, "n"),
    "Masking": shared(layers.Masking, "mask_value"),
    "UpSampling1D": shared(layers.UpSampling1D, "size"),
    "UpSampling2D": up_sampling_2d,
    "UpSampling3D": spatial(layers.UpSampling3D, 3, "size"),
    "ZeroPadding1D": spatial(layers.ZeroPadding1D, 1, "padding"),
    "ZeroPadding2D": spatial(layers.ZeroPadding2D, 2, "padding"),
    "ZeroPadding3D": spatial(layers.ZeroPadding3D, 3, "padding"),
    "Cropping1D": shared(layers.Cropping1D, "cropping"),
    "Cropping2D": spatial(layers.Cropping2D, 2, "cropping"),
    "Cropping3D": spatial(layers.Cropping3D, 3, "cropping"),
    **dict.fromkeys(
        (
            "Dropout",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
            "AlphaDropout",
            "GaussianDropout",
            "GaussianNoise",
            "ActivityRegularization",
            "Identity",
            # Classes outside `keras.layers`: ConvNeXt in `keras.applications`, and the package `efficientnet`.
            "StochasticDepth",
            "FixedDropout",
        ),
        inactive,
    ),
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""

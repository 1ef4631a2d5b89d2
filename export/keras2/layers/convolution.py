"""Functions that translate convolution and pooling layers."""

from __future__ import annotations

from typing import Any

from keras import layers

from orilla.export.keras2.activations import activation_of
from orilla.export.keras2.config import LayerConfig
from orilla.export.keras2.layers.simple import first
from orilla.export.keras2.layers.theano import padded_as_theano, pooled_as_theano
from orilla.export.keras2.layers.translator import Translation, Translator, kept
from orilla.export.keras2.part import Arrays, Part, plain

COMMON = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "use_bias")
DEPTHWISE = ("kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "use_bias")


def convolution(kind: Any, rank: int, *keys: str) -> Translation:
    """Return the function that translates a convolution layer.

    Args:
        kind: Class of Keras 3.
        rank: Number of spatial axes.
        keys: Arguments that Keras 2 and Keras 3 share.
    """

    def translate(config: LayerConfig, translator: Translator) -> Part:
        arguments = kept(config, *keys)
        activation = activation_of(config.config.get("activation"))
        padded = padded_as_theano(config) if translator.origin.backend == "theano" else None
        if padded is not None:
            arguments["padding"] = "valid"
        layer = kind(**arguments, activation=activation, data_format="channels_last")

        def arrange(arrays: Arrays) -> Arrays:
            if translator.origin.flips_kernels:
                # Source: `conv_utils.convert_kernel` of Keras 2.2.4.
                arrays[0] = arrays[0][(slice(None, None, -1),) * rank]
            return arrays

        part = plain(config, layer, channels=rank if first(config) else None, arrange=arrange)
        if padded is not None:
            part.run = padded(layer)
        return part

    return translate


def pooling(kind: Any, rank: int) -> Translation:
    """Return the function that translates a pooling layer."""

    def translate(config: LayerConfig, translator: Translator) -> Part:
        arguments = kept(config, "pool_size", "strides", "padding")
        if translator.origin.backend == "theano" and config.config.get("padding") == "same":
            arguments["padding"] = "valid"
            layer = kind(**arguments, data_format="channels_last")
            return Part(config, pooled_as_theano(layer), channels=rank if first(config) else None)
        layer = kind(**arguments, data_format="channels_last")
        return plain(config, layer, channels=rank if first(config) else None)

    return translate


def global_pooling(kind: Any, rank: int) -> Translation:
    """Return the function that translates a global pooling layer."""

    def translate(config: LayerConfig, _: Translator) -> Part:
        layer = kind(**kept(config, "keepdims"), data_format="channels_last")
        return plain(config, layer, channels=rank if first(config) else None)

    return translate


ROWS: dict[str, Translation] = {
    "Conv1D": convolution(layers.Conv1D, 1, *COMMON),
    "Conv2D": convolution(layers.Conv2D, 2, *COMMON),
    "Conv3D": convolution(layers.Conv3D, 3, *COMMON),
    "Conv1DTranspose": convolution(layers.Conv1DTranspose, 1, *COMMON[:5], "output_padding", "use_bias"),
    "Conv2DTranspose": convolution(layers.Conv2DTranspose, 2, *COMMON[:5], "output_padding", "use_bias"),
    "Conv3DTranspose": convolution(layers.Conv3DTranspose, 3, *COMMON[:5], "output_padding", "use_bias"),
    "DepthwiseConv1D": convolution(layers.DepthwiseConv1D, 1, *DEPTHWISE),
    "DepthwiseConv2D": convolution(layers.DepthwiseConv2D, 2, *DEPTHWISE),
    "SeparableConv1D": convolution(layers.SeparableConv1D, 1, *COMMON[:5], "depth_multiplier", "use_bias"),
    "SeparableConv2D": convolution(layers.SeparableConv2D, 2, *COMMON[:5], "depth_multiplier", "use_bias"),
    "MaxPooling1D": pooling(layers.MaxPooling1D, 1),
    "MaxPooling2D": pooling(layers.MaxPooling2D, 2),
    "MaxPooling3D": pooling(layers.MaxPooling3D, 3),
    "AveragePooling1D": pooling(layers.AveragePooling1D, 1),
    "AveragePooling2D": pooling(layers.AveragePooling2D, 2),
    "AveragePooling3D": pooling(layers.AveragePooling3D, 3),
    "GlobalMaxPooling1D": global_pooling(layers.GlobalMaxPooling1D, 1),
    "GlobalMaxPooling2D": global_pooling(layers.GlobalMaxPooling2D, 2),
    "GlobalMaxPooling3D": global_pooling(layers.GlobalMaxPooling3D, 3),
    "GlobalAveragePooling1D": global_pooling(layers.GlobalAveragePooling1D, 1),
    "GlobalAveragePooling2D": global_pooling(layers.GlobalAveragePooling2D, 2),
    "GlobalAveragePooling3D": global_pooling(layers.GlobalAveragePooling3D, 3),
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""

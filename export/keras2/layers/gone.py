"""Keras 3 implementations of layers that only Keras 1 or 2 has."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from orilla.export.keras2.activations import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ThresholdedReLU(layers.Layer):
    """Layer that keeps values above a threshold and replaces all others with zero."""

    def __init__(self, theta: float, **options: Any) -> None:
        super().__init__(**options)
        self.theta = theta
        self.supports_masking = True

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        return x * ops.cast(x > self.theta, x.dtype)

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {**super().get_config(), "theta": self.theta}


@keras.saving.register_keras_serializable(PACKAGE)
class LegacyResize(layers.Layer):
    """Layer that enlarges images as TensorFlow 1 did: bilinear, with aligned pixel corners instead of centres.

    Source: `K.resize_images` of Keras 2.2.3 to 2.3.1, which calls `tf.image.resize_bilinear`.
    """

    def __init__(self, size: Any, **options: Any) -> None:
        super().__init__(**options)
        self.size = tuple(size)

    def call(self, x: Any) -> Any:
        """Resize images `[B,H,W,C]`."""
        import tensorflow as tf

        size = tf.shape(x)[1:3] * tf.constant(self.size)
        resized = tf.compat.v1.image.resize_bilinear(x, size)
        resized.set_shape(self.compute_output_shape(tuple(x.shape)))
        return resized

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the enlarged images."""
        batch, height, width, channels = shape
        return batch, height and height * self.size[0], width and width * self.size[1], channels

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(PACKAGE)
class LocallyConnected(layers.Layer):
    """A convolution with separate weights at each position, for sequences `[B,T,C]` and images `[B,H,W,C]`."""

    def __init__(self, settings: dict[str, Any], activation: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings
        """Keys `filters`, `kernel_size`, `strides`, `padding` and `use_bias`, as in a convolution."""
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = self.bias_initializer = keras.initializers.get("zeros")

    def build(self, shape: Any) -> None:
        """Create the kernel `[P,K,F]` (P positions, K input values per position, F filters) and the bias."""
        *space, _ = self.compute_output_shape(shape)[1:]
        values = math.prod(self.settings["kernel_size"]) * shape[-1]
        filters = self.settings["filters"]
        self.kernel = self.add_weight((math.prod(space), values, filters), self.kernel_initializer, name="kernel")
        if self.settings["use_bias"]:
            self.bias = self.add_weight((*space, filters), self.bias_initializer, name="bias")

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        shape = self.compute_output_shape(tuple(x.shape))
        size, strides = list(self.settings["kernel_size"]), list(self.settings["strides"])
        if len(shape) == 3:  # A sequence is treated as an image with one row.
            x, size, strides = ops.expand_dims(x, 1), [1, *size], [1, *strides]
        patches = ops.image.extract_patches(
            x, size, strides, padding=self.settings["padding"], data_format="channels_last"
        )
        patches = ops.reshape(patches, (-1, *self.kernel.shape[:2]))
        y = ops.reshape(ops.einsum("bpk,pkf->bpf", patches, self.kernel), (-1, *shape[1:]))
        return self.activation(y + self.bias if self.settings["use_bias"] else y)

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the output."""
        batch, *space, _ = shape
        sizes = zip(space, self.settings["kernel_size"], self.settings["strides"], strict=True)
        if self.settings["padding"] == "same":
            space = [-(-length // stride) for length, _, stride in sizes]
        else:
            space = [(length - size) // stride + 1 for length, size, stride in sizes]
        return (batch, *space, self.settings["filters"])

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "settings": self.settings, "activation": activation}


class _PerValue(layers.Layer):
    """Base class of layers with separate weights for each value of a sample."""

    weight_names: tuple[str, ...] = ()
    """Names of the weights, in the order of the file."""

    def build(self, shape: Any) -> None:
        """Create the weights."""
        zeros = keras.initializers.get("zeros")
        self.values = [self.add_weight(tuple(shape[1:]), zeros, name=name) for name in self.weight_names]

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape


@keras.saving.register_keras_serializable(PACKAGE)
class ParametricSoftplus(_PerValue):
    """The `ParametricSoftplus` layer of Keras 1."""

    weight_names = ("alphas", "betas")

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        alphas, betas = self.values
        return ops.softplus(betas * x) * alphas


@keras.saving.register_keras_serializable(PACKAGE)
class SReLU(_PerValue):
    """The `SReLU` layer of Keras 1, a piecewise linear function with three pieces."""

    weight_names = ("t_left", "a_left", "t_right", "a_right")

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        left, left_slope, width, right_slope = self.values
        right = left + ops.abs(width)
        above = ops.minimum(ops.relu(x - left), right - left) - left_slope * ops.relu(left - x)
        return left + above + ops.relu(x - right) * right_slope


@keras.saving.register_keras_serializable(PACKAGE)
class LayerScale(layers.Layer):
    """The `LayerScale` layer of ConvNeXt in `keras.applications`, which has one factor per channel."""

    def build(self, shape: Any) -> None:
        """Create the weights: one factor per channel."""
        self.gamma = self.add_weight((shape[-1],), keras.initializers.get("zeros"), name="gamma")

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        return x * self.gamma

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape


@keras.saving.register_keras_serializable(PACKAGE)
class SampleNormalization(layers.Layer):
    """`BatchNormalization(mode=1)` of Keras 1, which normalises each sample by itself."""

    def __init__(self, epsilon: float, **options: Any) -> None:
        super().__init__(**options)
        self.epsilon = epsilon

    def build(self, shape: Any) -> None:
        """Create the weights in the order of Keras 1."""
        zeros = keras.initializers.get("zeros")
        self.gamma, self.beta = (self.add_weight((shape[-1],), zeros, name=name) for name in ("gamma", "beta"))

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        mean = ops.mean(x, axis=-1, keepdims=True)
        deviation = ops.sqrt(ops.var(x, axis=-1, keepdims=True) + self.epsilon)
        return self.gamma * (x - mean) / (deviation + self.epsilon) + self.beta

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(PACKAGE)
class Highway(layers.Layer):
    """The `Highway` layer of Keras 1, which mixes its input with the output of a dense layer of the same width."""

    def __init__(self, activation: Any = None, *, use_bias: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.activation, self.use_bias = keras.activations.get(activation), use_bias
        self.kernel_initializer = keras.initializers.get("zeros")

    def build(self, shape: Any) -> None:
        """Create the weights in the order of Keras 1."""
        width = shape[-1]
        self.kernel = self.add_weight((width, width), self.kernel_initializer, name="kernel")
        self.carry = self.add_weight((width, width), self.kernel_initializer, name="carry")
        if self.use_bias:
            self.bias = self.add_weight((width,), self.kernel_initializer, name="bias")
            self.carry_bias = self.add_weight((width,), self.kernel_initializer, name="carry_bias")

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        share, y = ops.matmul(x, self.carry), ops.matmul(x, self.kernel)
        if self.use_bias:
            share, y = share + self.carry_bias, y + self.bias
        share = ops.sigmoid(share)
        return self.activation(y) * share + (1 - share) * x

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation, "use_bias": self.use_bias}


@keras.saving.register_keras_serializable(PACKAGE)
class MaxoutDense(layers.Layer):
    """The `MaxoutDense` layer of Keras 1, which returns the element-wise maximum of several dense layers."""

    def __init__(self, units: int, features: int, *, use_bias: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.features, self.use_bias = units, features, use_bias
        self.kernel_initializer = keras.initializers.get("zeros")

    def build(self, shape: Any) -> None:
        """Create the kernel `[features,inputs,units]` and the bias."""
        self.kernel = self.add_weight((self.features, shape[-1], self.units), self.kernel_initializer, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight((self.features, self.units), self.kernel_initializer, name="bias")

    def call(self, x: Any) -> Any:
        """Apply the layer."""
        y = ops.einsum("bi,fiu->bfu", x, self.kernel)
        return ops.max(y + self.bias if self.use_bias else y, axis=1)

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the output."""
        return (*shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {**super().get_config(), "units": self.units, "features": self.features, "use_bias": self.use_bias}

"""Layers of Keras 1 and 2 that Keras 3 does not have, written for Keras 3."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from orilla.export.keras2.activations import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class ThresholdedReLU(layers.Layer):
    """Pass values above a threshold, and replace the others with zero."""

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
    """Enlarge images as TensorFlow 1 did: bilinear, with the corners of the pixels aligned instead of the centres.

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

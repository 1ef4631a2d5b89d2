"""Merging layers that combine masks as Keras 2 does: the output keeps a step if all input masks keep it.

Inputs without a mask are ignored. In Keras 3, the output keeps a step if any input mask keeps it, and the output has no
mask if one input has none.
Source: `base_merge.py` and `concatenate.py` of Keras 2.15 and of Keras 3.15.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from orilla.export.keras2.activations import PACKAGE


class _AllMasks:
    """Mixin that computes the output mask of a merging layer as Keras 2 does."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the steps that all masks keep, or None if no input has a mask."""
        masks = [one for one in mask or () if one is not None]
        if not masks:
            return None
        result = masks[0]
        for one in masks[1:]:
            result = ops.logical_and(result, one)
        return result


@keras.saving.register_keras_serializable(PACKAGE)
class Concatenate(layers.Concatenate):
    """`Concatenate` with the output mask of Keras 2."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return a mask `[B,T]`, or None if there is no mask."""
        if mask is None or all(one is None for one in mask):
            return None
        masks = []
        for tensor, one in zip(inputs, mask, strict=True):
            if one is None:
                masks.append(ops.ones_like(tensor, dtype="bool"))
            elif len(one.shape) < len(tensor.shape):
                # The mask is expanded to the shape of its input. `all` below reduces it again.
                full = ops.ones_like(tensor, dtype="bool")
                masks.append(ops.logical_and(ops.expand_dims(one, -1), full))
            else:
                masks.append(one)
        return ops.all(ops.concatenate(masks, axis=self.axis), axis=-1)


@keras.saving.register_keras_serializable(PACKAGE)
class Unmasked(layers.Layer):
    """Layer that returns its input without the mask."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def call(self, x: Any) -> Any:
        """Return the input."""
        return ops.copy(x)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return no mask."""

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the input."""
        return shape


def _with_masks(kind: Any) -> Any:
    """Return a subclass of a merging layer that has the same name and the masks of Keras 2."""
    return keras.saving.register_keras_serializable(PACKAGE)(type(kind.__name__, (_AllMasks, kind), {}))


Add, Subtract, Multiply, Average, Maximum, Minimum = (
    _with_masks(kind)
    for kind in (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
)

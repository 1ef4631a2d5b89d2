"""Loss functions."""

from __future__ import annotations

import keras
from keras import ops

from orilla.train.data.road import CLASS, COUNTED, FRACTION

CLASS_WEIGHT = 0.6
"""Weight of the auxiliary class loss relative to the road loss."""


class RoadLoss(keras.losses.Loss):
    """Cross-entropy plus soft IoU of the road, and cross-entropy of all classes as an auxiliary target.

    Source of the IoU term: Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
    Segmentation" (2016).
    """

    def __init__(self, classes: int) -> None:
        super().__init__(name="road_loss")
        self._classes = classes

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Compare targets `[N,h,w,3]` (see `train.data.road`) with logits `[N,h,w,1+classes]`.

        Return one loss per sample, `[N]`.
        """
        fraction, counted = y_true[..., FRACTION], y_true[..., COUNTED]
        logit = y_pred[..., 0]
        cells = ops.sum(counted, axis=(1, 2)) + 1.0
        entropy = ops.relu(logit) - logit * fraction + ops.softplus(-ops.abs(logit))
        loss = ops.sum(entropy * counted, axis=(1, 2)) / cells
        probability = ops.sigmoid(logit)
        shared = ops.sum(probability * fraction * counted, axis=(1, 2))
        either = ops.sum((probability + fraction - probability * fraction) * counted, axis=(1, 2))
        loss += 1.0 - (shared + 1.0) / (either + 1.0)
        if self._classes:
            middle = ops.cast(y_true[..., CLASS], "int32")
            known = ops.cast(middle < self._classes, y_pred.dtype)
            safe = ops.minimum(middle, self._classes - 1)
            of_class = keras.losses.sparse_categorical_crossentropy(safe, y_pred[..., 1:], from_logits=True)
            loss += CLASS_WEIGHT * ops.sum(of_class * known, axis=(1, 2)) / (ops.sum(known, axis=(1, 2)) + 1.0)
        return loss

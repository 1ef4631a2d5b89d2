"""The loss of the road model."""

from __future__ import annotations

import keras
from keras import ops

from orilla.train.data.road import CLASS, COUNTED, FRACTION

CLASS_WEIGHT = 0.6
"""Weight of the auxiliary loss for all classes. The loss for the road has weight 1."""


class RoadLoss(keras.losses.Loss):
    """Cross-entropy plus soft IoU for the road, and cross-entropy for all classes as an auxiliary loss.

    Source of the IoU term: Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
    Segmentation" (2016).
    """

    def __init__(self, classes: int) -> None:
        super().__init__(name="road_loss")
        self._classes = classes

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample, `[N]`.

        Args:
            y_true: The targets of `orilla.train.data.road`, `[N,h,w,3]`.
            y_pred: The logits, `[N,h,w,1+classes]`.
        """
        fraction, counted = y_true[..., FRACTION], y_true[..., COUNTED]
        logit = y_pred[..., 0]
        cells = ops.sum(counted, axis=(1, 2)) + 1.0
        entropy = ops.relu(logit) - logit * fraction + ops.softplus(-ops.abs(logit))
        loss = ops.sum(entropy * counted, axis=(1, 2)) / cells
        probability = ops.sigmoid(logit)
        intersection = ops.sum(probability * fraction * counted, axis=(1, 2))
        union = ops.sum((probability + fraction - probability * fraction) * counted, axis=(1, 2))
        loss += 1.0 - (intersection + 1.0) / (union + 1.0)
        if self._classes:
            centre = ops.cast(y_true[..., CLASS], "int32")
            known = ops.cast(centre < self._classes, y_pred.dtype)
            safe = ops.minimum(centre, self._classes - 1)
            of_class = keras.losses.sparse_categorical_crossentropy(safe, y_pred[..., 1:], from_logits=True)
            loss += CLASS_WEIGHT * ops.sum(of_class * known, axis=(1, 2)) / (ops.sum(known, axis=(1, 2)) + 1.0)
        return loss

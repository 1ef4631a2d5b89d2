"""The losses of segmentation models and detectors."""

from __future__ import annotations

import keras
from keras import ops

from orilla.train.data.anchors import BACKGROUND
from orilla.train.data.road import CLASS, COUNTED, FRACTION

CLASS_WEIGHT = 0.6
"""Weight of the auxiliary loss for all classes. The loss for the road has weight 1."""

FOCUS, OBJECT_SHARE = 2.0, 0.25
"""Exponent of the focal loss, and weight of objects in it. The weight of the background is 1 minus this weight. Source:
Lin et al. (2017)."""

BOX_WEIGHT = 2.0
"""Weight of the box loss. The class loss has weight 1."""


class SegmentLoss(keras.losses.Loss):
    """Cross-entropy plus one minus the mean soft IoU of the classes in the batch.

    Source of the IoU term: Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
    Segmentation" (2016).
    """

    def __init__(self, classes: int) -> None:
        super().__init__(name="segment_loss")
        self._classes = classes

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample, `[N]`.

        Args:
            y_true: The class of each cell, `[N,h,w,1]`. A cell without a class has a number that is not a valid class.
            y_pred: The logits, `[N,h,w,classes]`.
        """
        known = ops.cast(y_true < self._classes, y_pred.dtype)
        truth = ops.cast(ops.equal(y_true, ops.arange(self._classes, dtype=y_true.dtype)), y_pred.dtype)
        entropy = -ops.sum(truth * ops.log_softmax(y_pred), axis=(1, 2, 3)) / (ops.sum(known, axis=(1, 2, 3)) + 1.0)
        probability = ops.softmax(y_pred) * known
        both = ops.sum(probability * truth, axis=(0, 1, 2))
        count = ops.sum(truth, axis=(0, 1, 2))
        ious = (both + 1.0) / (count + ops.sum(probability, axis=(0, 1, 2)) - both + 1.0)
        present = ops.cast(count > 0, y_pred.dtype)
        return entropy + 1.0 - ops.sum(ious * present) / ops.maximum(ops.sum(present), 1.0)


class DetectLoss(keras.losses.Loss):
    """Focal loss of the classes plus GIoU loss of the boxes, divided by the number of anchors with an object.

    Sources: Lin et al., "Focal Loss for Dense Object Detection" (2017); Rezatofighi et al., "Generalized Intersection
    over Union" (2019).
    """

    def __init__(self, classes: int, variances: tuple[float, ...]) -> None:
        super().__init__(name="detect_loss")
        self._classes, self._variances = classes, variances

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each sample, `[N]`.

        Args:
            y_true: The targets of `orilla.train.data.anchors`, `[N,A,5]`.
            y_pred: The encoded boxes and the logits of the classes, `[N,A,4+classes]`.
        """
        cls = y_true[..., 4:]
        truth = ops.cast(ops.equal(cls, ops.arange(self._classes, dtype=cls.dtype)), y_pred.dtype)
        counted = ops.cast(cls >= BACKGROUND, y_pred.dtype)
        found = ops.cast(cls[..., 0] > BACKGROUND, y_pred.dtype)
        logits = y_pred[..., 4:]
        score = ops.sigmoid(logits)
        entropy = ops.relu(logits) - logits * truth + ops.softplus(-ops.abs(logits))
        wrong = truth * (1.0 - score) + (1.0 - truth) * score
        share = truth * OBJECT_SHARE + (1.0 - truth) * (1.0 - OBJECT_SHARE)
        focal = ops.sum(share * wrong**FOCUS * entropy * counted, axis=(1, 2))
        boxes = ops.sum((1.0 - self._giou(y_true[..., :4], y_pred[..., :4])) * found, axis=1)
        objects = ops.sum(found) / ops.cast(ops.shape(found)[0], y_pred.dtype)  # Mean number of objects per sample.
        return (focal + BOX_WEIGHT * boxes) / ops.maximum(objects, 1.0)

    def _giou(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the generalised IoU of the true and the predicted box of each anchor, `[N,A]`.

        The boxes are relative to the anchor. This does not change their IoU.
        """
        (low, high), (true_low, true_high) = self._edges(y_pred), self._edges(y_true)
        common = ops.prod(ops.relu(ops.minimum(high, true_high) - ops.maximum(low, true_low)), axis=-1)
        union = ops.prod(high - low, axis=-1) + ops.prod(true_high - true_low, axis=-1) - common
        hull = ops.prod(ops.maximum(high, true_high) - ops.minimum(low, true_low), axis=-1)
        return common / union - (hull - union) / hull

    def _edges(self, codes: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return the top left and bottom right corners of boxes, in units of the anchors' widths and heights."""
        x, y, width, height = self._variances
        centre = codes[..., :2] * ops.convert_to_tensor([x, y], codes.dtype)
        sizes = ops.clip(codes[..., 2:] * ops.convert_to_tensor([width, height], codes.dtype), -6.0, 6.0)
        half = ops.exp(sizes) / 2.0
        return centre - half, centre + half


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

"""Anchors of detectors: their aspect ratios, and the training target of each anchor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.heads.head import Floats
from orilla.runtime.tasks.heads.ssd_anchors import encode
from orilla.runtime.tasks.metrics.detection import iou_matrix

OBJECT_IOU, BACKGROUND_IOU = 0.5, 0.4
"""An anchor whose IoU with a box is at least the first value is trained to find this box. An anchor whose largest IoU
is below the second value is background. All other anchors are ignored. Source: Lin et al., "Focal Loss for Dense Object
Detection" (2017), section 4."""

BACKGROUND, IGNORED = -1, -2
"""Class indices of background anchors and of ignored anchors in a target. Ignored anchors have no influence on the
loss."""

IN_CROWD = 0.5
"""An anchor is ignored if at least this share of it lies in a crowd."""

RATIO_LIMITS = (0.2, 5.0)
"""Smallest and largest aspect ratio of an anchor."""


def aspect_ratios(sizes_wh: NDArray[np.floating], count: int) -> list[float]:
    """Return the aspect ratios of the anchors for a data set: width divided by height, in ascending order.

    The ratios are evenly spaced quantiles of the boxes' aspect ratios. If `count` is 3, these are the quantiles 1/6,
    1/2 and 5/6. Neighbouring ratios differ by at least a tenth.

    Args:
        sizes_wh: Width and height of each box in pixels of the network's input, `[N,2]`, above 0.
        count: Number of ratios.
    """
    logarithms = np.log(sizes_wh[:, 0]) - np.log(sizes_wh[:, 1])
    ratios = np.exp(np.quantile(logarithms, (np.arange(count) + 0.5) / count))
    for index in range(1, count):
        ratios[index] = max(ratios[index], 1.1 * ratios[index - 1])
    return [round(float(ratio), 3) for ratio in np.clip(ratios, *RATIO_LIMITS)]


def targets(
    anchors: Floats,
    boxes_xyxy: Floats,
    classes: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    variances: Sequence[float],
) -> Floats:
    """Return the training target of each anchor, `[A,5]`: its encoded box and its class.

    Every box is assigned at least to the anchor that has the largest IoU with it. Source: Liu et al., "SSD: Single Shot
    MultiBox Detector" (2016), section 2.2.

    Args:
        anchors: Centre x, centre y, width and height of each anchor in pixels of the input, `[A,4]`.
        boxes_xyxy: The boxes in pixels of the input, `[N,4]`. Boxes smaller than a pixel are ignored like crowds.
        classes: Class of each box, `[N]`.
        crowd: True for each box that is a crowd, `[N]`.
        variances: Factors of the encoded x, y, width and height.
    """
    result = np.zeros((len(anchors), 5), np.float32)
    result[:, 4] = BACKGROUND
    half = anchors[:, 2:] / 2
    edges = np.concatenate([anchors[:, :2] - half, anchors[:, :2] + half], axis=1)
    unclear = crowd | (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] < 1).any(axis=1)
    if unclear.any():
        shares = iou_matrix(edges, boxes_xyxy[unclear], np.ones(np.count_nonzero(unclear), bool))
        result[shares.max(axis=1) >= IN_CROWD, 4] = IGNORED
    boxes, classes = boxes_xyxy[~unclear], classes[~unclear]
    if not len(boxes):
        return result
    ious = iou_matrix(edges, boxes)
    own, best = ious.argmax(axis=1), ious.max(axis=1)
    forced = ious.argmax(axis=0)
    own[forced], best[forced] = np.arange(len(boxes)), 1.0
    result[best >= BACKGROUND_IOU, 4] = IGNORED
    found = np.flatnonzero(best >= OBJECT_IOU)
    result[found, :4] = encode(boxes[own[found]], anchors[found], variances)
    result[found, 4] = classes[own[found]]
    return result

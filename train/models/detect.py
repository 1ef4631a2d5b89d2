"""The detector: an SSD on MobileNetV2 with a feature pyramid, with at most 1.5 M parameters.

The encoder is MobileNetV2 up to its block 14. The features at the strides 8 to 64 are merged from the coarsest to the
finest (Lin et al., "Feature Pyramid Networks for Object Detection", 2017) with depthwise-separable convolutions. Each
feature map has an output for boxes and one for class scores, so that each output has its own scale in an int8 network.
The boxes are computed outside the network, by the head `ssd_anchors`.

Sources: Liu et al., "SSD: Single Shot MultiBox Detector" (2016); Lin et al., "Focal Loss for Dense Object Detection"
(2017), for the initial bias and for two anchor sizes per octave.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from orilla.runtime.tasks.heads.head import HeadSpec, numbers
from orilla.train.data.augment import RandomColour
from orilla.train.jobs.plan import Network, NetworkOptions, Phase, Plan
from orilla.train.models.encoder import (
    double,
    encode,
    freeze,
    pointwise,
    scaled,
    separable,
    start_weights,
    weights_errors,
)

INPUT_HW = (256, 320)
"""Input height and width in pixels."""

STRIDES = (8, 16, 32, 64)
"""Pixels of the input per cell of each feature map."""

TAPS = ("block_6_expand_relu", "block_13_expand_relu", "block_14_add")
"""Names of the encoder layers at the strides 8, 16 and 32."""

CHANNELS = 96
"""Number of channels of the feature pyramid, for width 1."""

RATIOS = 3
"""Number of aspect ratios of the anchors. The job computes them from the boxes of the training samples."""

SCALES = (3.0, 3.0 * math.sqrt(2))
"""Sizes of the anchors in strides. The size of an anchor is the square root of its area."""

VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""Factors of the box outputs, as in SSD."""

PRIOR = 0.01
"""Score of each anchor before training. With higher scores, the loss of the many background anchors would dominate."""


def build(options: NetworkOptions) -> Network:
    """Build the network to train and the part of it to export. Freeze layers with pre-trained weights.

    The network to train maps images to `[N,A,4+C]`: the encoded box and the logits of the classes for each anchor.
    The exported part has two outputs for each feature map of `h` x `w` cells with `a` anchors per cell: `boxes_0`
    `[N,h,w,a*4]` and `scores_0` `[N,h,w,a*C]` for the first map.

    Raises:
        ConfigError: The weights cannot be downloaded, or do not fit the width.
    """
    image = keras.Input((*options.input, 3), name="image")
    with weights_errors(options):
        taps = encode(image, options.width, options.weights, TAPS)
    per_cell = RATIOS * len(SCALES)
    outputs: dict[str, Any] = {}
    for index, features in enumerate(_pyramid(taps, scaled(CHANNELS, options.width))):
        x = separable(features, features.shape[-1], f"head{index}_a")
        x = separable(x, features.shape[-1], f"head{index}_b")
        bias = keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
        outputs[f"boxes_{index}"] = layers.Conv2D(4 * per_cell, 1, dtype="float32", name=f"boxes_{index}")(x)
        outputs[f"scores_{index}"] = layers.Conv2D(
            options.classes * per_cell, 1, bias_initializer=bias, dtype="float32", name=f"scores_{index}"
        )(x)
    rows = [_rows(outputs, "boxes", 4), _rows(outputs, "scores", options.classes)]
    model = keras.Model(image, layers.Concatenate(dtype="float32", name="rows")(rows), name="detect")
    if options.weights is not None:
        freeze(model)
    return Network(model, start_weights(options), deployed=keras.Model(image, outputs, name="detect"))


def head_spec(input_hw: tuple[int, int], ratios: Sequence[float]) -> HeadSpec:
    """Return the layout of the outputs.

    Args:
        input_hw: Height and width of the network's input in pixels.
        ratios: Width divided by height of the anchors, `RATIOS` values.
    """
    anchors = [(scale, ratio) for scale in SCALES for ratio in ratios]
    maps = range(len(STRIDES))
    return HeadSpec(
        "ssd_anchors",
        {f"{role}_{index}": f"{role}_{index}" for index in maps for role in ("boxes", "scores")},
        {
            "grids": numbers([[math.ceil(side / stride) for side in input_hw] for stride in STRIDES]),
            "sizes": numbers([[round(scale * stride, 3) for scale, _ in anchors] for stride in STRIDES]),
            "aspect_ratios": numbers([[ratio for _, ratio in anchors] for _ in STRIDES]),
            "activation": "sigmoid",
            "variances": numbers(VARIANCES),
        },
    )


def _pyramid(taps: Sequence[keras.KerasTensor], channels: int) -> list[keras.KerasTensor]:
    """Return a feature map with `channels` channels for each stride. Finer maps include the coarser ones."""
    fine, middle, coarse = taps
    coarse = pointwise(coarse, channels, "pyramid32")
    coarsest = separable(coarse, channels, "pyramid64", stride=2)
    middle = layers.Add(name="pyramid16_add")([pointwise(middle, channels, "pyramid16"), double(coarse, "up16")])
    fine = layers.Add(name="pyramid8_add")([pointwise(fine, channels, "pyramid8"), double(middle, "up8")])
    return [fine, middle, coarse, coarsest]


def _rows(outputs: dict[str, Any], role: str, columns: int) -> keras.KerasTensor:
    """Return the outputs of all feature maps for one role, `boxes` or `scores`, as one array `[N,A,columns]`."""
    maps = [
        layers.Reshape((-1, columns), dtype="float32", name=f"{name}_rows")(output)
        for name, output in outputs.items()
        if name.startswith(role)
    ]
    return layers.Concatenate(axis=1, dtype="float32", name=role)(maps)


PLANS = {
    "detect": Plan(
        "detect",
        build,
        INPUT_HW,
        (Phase(100, 1e-3),),
        batch=8,
        augment=RandomColour,
        minimum=(64, 64),
        multiple=32,
    )
}

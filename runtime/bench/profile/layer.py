"""The time and the work of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["work", "copy", "convert", "other"]
"""Kind of a layer: it multiplies with weights, moves data, converts numbers to a different type, or does something
else."""

COPIES = frozenset(
    # XNNPACK kernels, LiteRT operators and ONNX Runtime operators.
    [
        "Copy",
        "Transpose",
        "Constant-Pad",
        "Static-Reshape",
        "Static-Slice",
        "Static-Expand",
        "Concatenate",
        "CONCATENATION",
        "RESHAPE",
        "SQUEEZE",
        "EXPAND_DIMS",
        "STRIDED_SLICE",
        "SLICE",
        "SPLIT",
        "SPLIT_V",
        "PAD",
        "PADV2",
        "PACK",
        "UNPACK",
        "TRANSPOSE",
        "TILE",
        "GATHER",
        "SPACE_TO_DEPTH",
        "DEPTH_TO_SPACE",
        "BROADCAST_TO",
        "MIRROR_PAD",
        "Reshape",
        "ReorderInput",
        "ReorderOutput",
        "Concat",
        "QLinearConcat",
        "Slice",
        "Split",
        "Pad",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "DepthToSpace",
        "SpaceToDepth",
        "Tile",
    ]
)
"""Operators and kernels that only move data."""

CONVERSIONS = frozenset(
    ["Convert", "QUANTIZE", "DEQUANTIZE", "CAST", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"]
)
"""Operators and kernels that convert numbers to a different type."""


@dataclass(frozen=True, slots=True)
class Layer:
    """An operator, or a part of it, as the engine runs it."""

    name: str
    """Short name of the tensor or node in the model file. Empty for a step that the engine has added."""
    operator: str
    """Type of the operator in the model file, such as `CONV_2D` or `Conv`. Empty for a step that the engine has
    added."""
    kernel: str
    """Kernel that the engine runs, such as `Fully Connected (NC, QS8, QC8W) GEMM` or `QLinearConv`."""
    place: str
    """The part of the engine that runs the kernel: `XNNPACK`, `LiteRT` (outside XNNPACK), or an execution provider."""
    kind: Kind
    numbers: str
    """Data type in which the kernel computes, such as `int8`. Empty if it is unknown."""
    ms: float
    """Time that one inference spends in this layer, in milliseconds."""
    macs: int = 0
    """Multiply-accumulates of one inference. 0 if it has none or if they are unknown."""
    depthwise: bool = False
    channels: tuple[int, int] | None = None
    """Number of input and output channels of a layer with weights."""
    share: float = 0.0
    """Share of the total layer time, 0–1."""
    gmac_per_s: float | None = None
    """Billions of multiply-accumulates per second. None if the layer has no multiply-accumulates."""
    of_peak: float | None = None
    """`gmac_per_s` divided by the measured peak for the same data type. None if either is missing."""

    @property
    def short_kernel(self) -> str:
        """Return a short name of the kernel with its data type, such as `DWConv int8`."""
        head, _, tail = self.kernel.rpartition(")")
        text = tail.strip() or head.partition("(")[0].strip()
        return f"{text} {self.numbers}" if self.kind == "work" and self.numbers else text


@dataclass(frozen=True, slots=True)
class Timing:
    """The layers of one model file on one engine, as its profiler reports them."""

    layers: tuple[Layer, ...]
    """The layers in the order of their execution."""
    runs: int
    """Number of inferences over which the times were averaged."""
    method: str
    """Method by which the times were measured, in one sentence."""


def kind_of(operator: str, *, has_weights: bool) -> Kind:
    """Return the kind of an operator or kernel."""
    if has_weights:
        return "work"
    if operator in COPIES:
        return "copy"
    return "convert" if operator in CONVERSIONS else "other"


def middle_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half of the values.

    Engines report whole microseconds. Unlike a median, this mean resolves fractions of a microsecond. Unlike an
    ordinary mean, it ignores outliers.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    quarter = len(ordered) // 4
    return float(ordered[quarter : len(ordered) - quarter].mean())

"""Find the operator of a `.tflite` file for each kernel that XNNPACK ran.

XNNPACK reports its kernels in the order in which it runs them, but not the operators that they belong to. It fuses some
operators into others, runs others as several kernels, and adds kernels that convert data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
"""Operators that multiply and accumulate. Each is one kernel."""

COPYING = ("Copy", "Static-Reshape", "Constant-Pad", "Static-Slice", "Transpose", "Static-Expand")
"""Kernels that XNNPACK may run several times for one operator."""

OPERATORS = {
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Fully-Connected": ("FULLY_CONNECTED", "CONV_2D"),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Batch-Matrix": ("BATCH_MATMUL",),
    "Add": ("ADD",),
    "Subtract": ("SUB",),
    "Multiply": ("MUL",),
    "Divide": ("DIV",),
    "Maximum": ("MAXIMUM",),
    "Minimum": ("MINIMUM",),
    "Squared-Difference": ("SQUARED_DIFFERENCE",),
    "Sigmoid": ("LOGISTIC",),
    "Tanh": ("TANH",),
    "Softmax": ("SOFTMAX",),
    "HardSwish": ("HARD_SWISH",),
    "Clamp": ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"),
    "ELU": ("ELU",),
    "GELU": ("GELU",),
    "Leaky": ("LEAKY_RELU",),
    "PReLU": ("PRELU",),
    "Max": ("MAX_POOL_2D",),
    "ArgMax": ("MAX_POOL_2D",),
    "Average": ("AVERAGE_POOL_2D", "MEAN"),
    "Global": ("MEAN", "AVERAGE_POOL_2D", "SUM"),
    "Mean": ("MEAN", "AVERAGE_POOL_2D"),
    "Sum": ("SUM", "MEAN", "AVERAGE_POOL_2D"),
    "Resize": ("RESIZE_BILINEAR",),
    "Transpose": ("TRANSPOSE",),
    "Constant-Pad": ("PAD", "PADV2", "CONV_2D", "DEPTHWISE_CONV_2D", "CONCATENATION"),
    "Copy": (
        "CONCATENATION",
        "RESHAPE",
        "SPLIT",
        "SPLIT_V",
        "STRIDED_SLICE",
        "SLICE",
        "SQUEEZE",
        "EXPAND_DIMS",
        "PACK",
    ),
    "Static-Reshape": ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "FULLY_CONNECTED", "PACK"),
    "Static-Slice": ("SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V"),
    "Static-Expand": ("EXPAND_DIMS",),
    "Depth": ("DEPTH_TO_SPACE",),
    "Space": ("SPACE_TO_DEPTH",),
    "Convert": ("QUANTIZE", "DEQUANTIZE", "CAST"),
}
"""Operators that can be the origin of a kernel, by the first words of the kernel's name."""

ELEMENTWISE = [
    "QUANTIZE",
    "DEQUANTIZE",
    "CAST",
    "ADD",
    "SUB",
    "MUL",
    "DIV",
    "ABS",
    "NEG",
    "EXP",
    "LOG",
    "SQRT",
    "RSQRT",
    "SQUARE",
    "FLOOR",
    "CEIL",
    "ROUND",
    "COS",
    "SIN",
    "LOGISTIC",
    "TANH",
    "HARD_SWISH",
    "RELU",
    "RELU6",
    "ELU",
    "GELU",
    "LEAKY_RELU",
]
"""Operators that can be the origin of a kernel with an unknown name. LiteRT 2.3 names some conversions `Invalid Unary
Op`."""

HEAVY = 100
"""Weight of a pair whose operator is in `WEIGHTED`. Such pairs matter more than all others."""


def base_of(kernel: str) -> str:
    """Return the first words of a kernel's name, as in `OPERATORS`: `Static-Reshape` for `Static Reshape (NC)`."""
    words = re.split(r"\s*\(", kernel)[0].split()
    joined = "-".join(words[:2])
    return joined if joined in OPERATORS or joined in COPYING else (words or [""])[0]


def numbers_of(kernel: str) -> str:
    """Return the data type in which a kernel computes, or an empty string.

    `QC8`, `QS8`, `QU8` and `QD8` are quantised, `F32` and `F16` are not. `X8` only moves data.
    """
    kind = re.search(r"\b(Q[A-Z]+8|F32|F16)", kernel)
    return {"F32": "float32", "F16": "float16"}.get(kind[1], "int8") if kind else ""


def origins(kernels: Sequence[str], operators: Sequence[str]) -> list[int | None]:
    """Return the index of the operator of each kernel. None if XNNPACK has added the kernel.

    The pairing keeps the order of kernels and operators, and pairs as many kernels as possible.

    Args:
        kernels: Names of the kernels that XNNPACK ran.
        operators: Types of the operators that XNNPACK runs, in the order of the file.
    """
    bases = [base_of(kernel) for kernel in kernels]
    best = [[0] * (len(operators) + 1) for _ in range(len(kernels) + 1)]
    for event in range(len(kernels) - 1, -1, -1):
        row, below = best[event], best[event + 1]
        for place in range(len(operators) - 1, -1, -1):
            value = max(below[place], row[place + 1])
            worth = _worth(kernels[event], bases[event], operators[place])
            if worth:
                value = max(value, worth + below[place + (bases[event] not in COPYING)])
            row[place] = value
    found: list[int | None] = []
    event = place = 0
    while event < len(kernels):
        worth = _worth(kernels[event], bases[event], operators[place]) if place < len(operators) else 0
        taken = place + (bases[event] not in COPYING)
        if worth and best[event][place] == worth + best[event + 1][taken]:
            found.append(place)
            event, place = event + 1, taken
        elif place < len(operators) and best[event][place] == best[event][place + 1]:
            place += 1
        else:
            found.append(None)
            event += 1
    return found


def _worth(kernel: str, base: str, operator: str) -> int:
    """Return the weight of pairing this kernel with this operator. 0 if the operator cannot be the kernel's origin."""
    if base not in OPERATORS:
        return int(operator in ELEMENTWISE)
    if operator not in OPERATORS[base] or ("DWConv" in kernel and operator == "CONV_2D"):
        return 0
    if operator in WEIGHTED:
        return 1 if base in COPYING else HEAVY
    return 2

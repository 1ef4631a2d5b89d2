"""Check that ONNX Runtime runs the quantised operators of an ONNX file in integers."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that usually have weights."""

MIN_SHARE = 0.9
"""Minimum share of the quantised operators with weights that must run in integers. With a smaller share, the
conversions between int8 and float32 can take longer than the integers save. With int8 activations instead of uint8,
ONNX Runtime 1.32 on x86 runs 39 of the 65 convolutions of the road network in integers, and the network takes 1.35
times as long as in float32."""

INTEGER = ("QLinearConv", "QLinearMatMul", "MatMulIntegerToFloat", "QGemm", "ConvInteger", "MatMulInteger")
"""Operators of ONNX Runtime that compute with integer weights."""


def require_fused(model: str) -> None:
    """Raise `ValueError` if ONNX Runtime would run too many of the quantised operators in float32.

    Args:
        model: Path of a quantised model file in the QDQ format.
    """
    import onnx

    expected = _quantised(onnx.load(model).graph)
    counts = optimised_operators(model)
    found = sum(counts[name] for name in INTEGER)
    if found < MIN_SHARE * expected:
        kinds = [name for name in sorted(counts) if name.removeprefix("Fused") in WEIGHTED]
        in_float = ", ".join(f"{counts[name]} {name}" for name in kinds)
        msg = (
            f"ONNX Runtime runs only {found} of the {expected} quantised operators with weights in integers "
            f"(in float32: {in_float}), so the variant would be slower than necessary"
        )
        raise ValueError(msg)


def optimised_operators(model: str) -> Counter[str]:
    """Return the number of operators of each type after ONNX Runtime has optimised a model file for the CPU."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Higher levels choose layouts for this processor, which does not change the number of operators in integers.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


def _quantised(graph: Any) -> int:
    """Return the number of operators with weights whose data and weights are both quantised."""
    dequantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return sum(
        node.op_type in WEIGHTED and node.op_type != "ConvTranspose" and set(node.input[:2]) <= dequantised
        for node in graph.node
    )

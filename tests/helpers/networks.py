"""Small ONNX networks, as another tool would write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_onnx(path: Path, *, channels_first: bool = True, classes: int = 3) -> Path:
    """Write a classifier for images of 24 x 32 pixels: convolution, mean over the image, dense layer, softmax."""
    generator = np.random.default_rng(7)
    weights = {
        "kernel": generator.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "dense": (2 * generator.normal(size=(4, classes))).astype(np.float32),
    }
    nodes = [] if channels_first else [helper.make_node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2])]
    nodes += [
        helper.make_node("Conv", ["x" if channels_first else "planes", "kernel"], ["features"], strides=[2, 2]),
        helper.make_node("Relu", ["features"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    shape = [1, 3, 24, 32] if channels_first else [1, 24, 32, 3]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path

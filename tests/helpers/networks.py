"""Small ONNX networks, as another tool would write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_onnx(
    path: Path,
    *,
    channels_first: bool = True,
    batch: int | str = 1,
    size: tuple[int | str, int | str] = (24, 32),
    classes: int = 3,
    opset: int = 17,
    last: str | None = "Softmax",
) -> Path:
    """Write a network for images: convolution, mean over the image, dense layer, activation.

    Args:
        path: Path of the file.
        channels_first: True for the input `[batch,3,h,w]`, False for `[batch,h,w,3]`.
        batch: Size of the batch axis, or the name of an axis that is not fixed.
        size: Height and width, or the names of axes that are not fixed.
        classes: Number of outputs.
        opset: Version of the operator set.
        last: Operator of the activation. If None, the network outputs logits.
    """
    generator = np.random.default_rng(7)
    shape = [batch, 3, *size] if channels_first else [batch, *size, 3]
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
    ]
    nodes += [helper.make_node(last, ["logits"], ["scores"])] if last else []
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores" if last else "logits", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path

"""A classifier that loses its accuracy in int8, as an ONNX file and as a LiteRT file.

It has SiLU, a squeeze-and-excitation block, and one channel a thousand times as large as the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from helpers.tflite_nets import Operator, Tensor, build

SIZE, CHANNELS, CLASSES = 16, 8, 4
GAIN = 1000.0
WIDE = "wide"
"""Name of the tensor with the large channel."""

_random = np.random.default_rng(5)


def _kernel(outputs: int, inputs: int, side: int) -> NDArray[np.float32]:
    """Return a kernel `[outputs,side,side,inputs]`."""
    return _random.normal(0, 1.6 / (side * np.sqrt(inputs)), (outputs, side, side, inputs)).astype(np.float32)


_KERNELS = {
    "first": _kernel(CHANNELS, 3, 3),
    WIDE: _kernel(CHANNELS, CHANNELS, 3),
    "after": _kernel(CHANNELS, CHANNELS, 3),
    "squeeze": _kernel(4, CHANNELS, 1),
    "excite": _kernel(CHANNELS, 4, 1),
    "logits": 100 * _kernel(CLASSES, CHANNELS, 1),
}
_BIASES = {name: np.zeros(len(kernel), np.float32) for name, kernel in _KERNELS.items()}
_KERNELS[WIDE][0] *= GAIN
_BIASES[WIDE][0] = GAIN
_KERNELS["after"][..., 0] /= 20 * GAIN
# With these factors and biases, all classes occur about equally often.
_KERNELS["logits"] *= np.array([5, 1, 4, 2], np.float32)[:, None, None, None]
_BIASES["logits"][:] = 18.6, -1.53, 5.9, 12.3


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """Return images `[N,16,16,3]` with a rectangle of one colour on noise."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (count, SIZE, SIZE, 3))
    for image in images:
        top, left = random.integers(0, SIZE - 6, 2)
        image[top : top + 6, left : left + 6] += random.integers(0, 190, 3)
    return images.astype(np.uint8)


def wide_channel_onnx(path: Path) -> Path:
    """Write the network as an ONNX file with the input `[1,3,16,16]`, 0–1."""
    nodes, last = [], "x"

    def add(operator: str, inputs: list[str], output: str, **options: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **options))
        return output

    def convolution(name: str, source: str) -> str:
        pads = [_KERNELS[name].shape[1] // 2] * 4
        return add("Conv", [source, f"{name}_kernel", f"{name}_bias"], name, pads=pads)

    for name in ("first", WIDE, "after"):
        features = convolution(name, last)
        last = add("Mul", [features, add("Sigmoid", [features], f"{name}_sigmoid")], f"{name}_silu")
    squeezed = convolution("squeeze", add("GlobalAveragePool", [last], "mean"))
    excited = convolution("excite", add("Relu", [squeezed], "squeeze_relu"))
    last = add("Mul", [last, add("Sigmoid", [excited], "excite_sigmoid")], "scaled")
    logits = convolution("logits", add("GlobalAveragePool", [last], "pooled"))
    add("Softmax", [add("Flatten", [logits], "flat")], "scores")
    weights = [numpy_helper.from_array(k.transpose(0, 3, 1, 2).copy(), f"{n}_kernel") for n, k in _KERNELS.items()]
    weights += [numpy_helper.from_array(bias, f"{name}_bias") for name, bias in _BIASES.items()]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


class _Graph:
    """Collects the tensors and operators of a `.tflite` file."""

    def __init__(self) -> None:
        self.tensors = [Tensor("x", (1, SIZE, SIZE, 3))]
        self.operators: list[Operator] = []

    def constant(self, name: str, content: NDArray[np.generic]) -> int:
        self.tensors.append(Tensor(name, content.shape, content.dtype, content))
        return len(self.tensors) - 1

    def add(
        self, operator: str, inputs: list[int], output: Tensor, options: tuple[str, dict[str, Any]] | None = None
    ) -> int:
        self.tensors.append(output)
        self.operators.append(Operator(operator, inputs, [len(self.tensors) - 1], options=options))
        return len(self.tensors) - 1

    def convolution(self, name: str, source: int, activation: int = 0) -> int:
        kernel, bias = self.constant(f"{name}_kernel", _KERNELS[name]), self.constant(f"{name}_bias", _BIASES[name])
        shape = (*self.tensors[source].shape[:3], len(_KERNELS[name]))
        options = {"padding": 0, "strideW": 1, "strideH": 1, "fusedActivationFunction": activation}
        return self.add("CONV_2D", [source, kernel, bias], Tensor(name, shape), ("Conv2DOptions", options))

    def mean(self, name: str, source: int) -> int:
        axes = self.constant(f"{name}_axes", np.array([1, 2], np.int32))
        shape = (1, 1, 1, self.tensors[source].shape[-1])
        return self.add("MEAN", [source, axes], Tensor(name, shape), ("ReducerOptions", {"keepDims": True}))

    def scaled(self, name: str, values: int, logits: int) -> int:
        """Add the product of `values` and the sigmoid of `logits`."""
        gate = self.add("LOGISTIC", [logits], self.tensors[logits]._replace(name=f"{name}_sigmoid"))
        return self.add("MUL", [values, gate], self.tensors[values]._replace(name=name), ("MulOptions", {}))


def wide_channel_tflite(path: Path) -> Path:
    """Write the network as a LiteRT file with the input `[1,16,16,3]`, 0–1."""
    graph, last = _Graph(), 0
    for name in ("first", WIDE, "after"):
        features = graph.convolution(name, last)
        last = graph.scaled(f"{name}_silu", features, features)
    squeezed = graph.convolution("squeeze", graph.mean("mean", last), activation=1)
    last = graph.scaled("scaled", last, graph.convolution("excite", squeezed))
    logits = graph.convolution("logits", graph.mean("pooled", last))
    shape = graph.constant("shape", np.array([1, CLASSES], np.int32))
    flat = graph.add("RESHAPE", [logits, shape], Tensor("flat", (1, CLASSES)), ("ReshapeOptions", {}))
    scores = graph.add("SOFTMAX", [flat], Tensor("scores", (1, CLASSES)), ("SoftmaxOptions", {"beta": 1.0}))
    path.write_bytes(build(graph.tensors, graph.operators, [0], [scores], signatures=["serving_default"]))
    return path

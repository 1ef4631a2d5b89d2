"""Measure how many multiply-accumulates per second an engine can reach on this machine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from orilla.devices.errors import EngineError, MissingExtraError
from orilla.runtime.bench.profile.onnx_graph import Constant, Node, write_model

SIDE, CHANNELS = 32, 256
"""Height and width of the 1x1 convolution, and its number of input and output channels. One inference has 67 million
multiply-accumulates, and all numbers fit into the caches of most processors."""

DESCRIPTION = f"1x1 convolution with {CHANNELS} channels on {SIDE}x{SIDE} positions"


def peak_model(format_: str, numbers: str) -> bytes:
    """Return a model file whose only work is the convolution.

    Args:
        format_: `tflite` or `onnx`.
        numbers: `int8` or `float32`.
    """
    return _onnx(numbers) if format_ == "onnx" else _tflite(numbers)


def sample() -> np.ndarray:
    """Return an input for the model, `[1024,256]` or `[32,32,256]` float32."""
    return np.random.default_rng(0).random((SIDE, SIDE, CHANNELS), np.float32)


def _weights(numbers: str) -> np.ndarray:
    random = np.random.default_rng(1)
    if numbers == "int8":
        return random.integers(-127, 128, (CHANNELS, CHANNELS)).astype(np.int8)
    return random.normal(0, 0.06, (CHANNELS, CHANNELS)).astype(np.float32)


def _onnx(numbers: str) -> bytes:
    kernel = Constant("w", numbers, (CHANNELS, CHANNELS, 1, 1), _weights(numbers).tobytes())
    shape = (1, CHANNELS, SIDE, SIDE)
    if numbers == "float32":
        return write_model([Node("peak", "Conv", ("x", "w"), ("y",))], [kernel], {"x": shape}, {"y": shape})
    constants = [kernel]
    for name, scale in (("x", 1 / 255), ("y", 0.1)):
        constants.append(Constant(f"{name}_s", "float32", (), np.float32(scale).tobytes()))
        constants.append(Constant(f"{name}_z", "uint8", (), np.uint8(0 if name == "x" else 128).tobytes()))
    constants.append(Constant("w_s", "float32", (CHANNELS,), np.full(CHANNELS, 0.001, np.float32).tobytes()))
    constants.append(Constant("w_z", "int8", (CHANNELS,), bytes(CHANNELS)))
    nodes = [
        Node("quantise", "QuantizeLinear", ("x", "x_s", "x_z"), ("q",)),
        Node("peak", "QLinearConv", ("q", "x_s", "x_z", "w", "w_s", "w_z", "y_s", "y_z"), ("p",)),
        Node("dequantise", "DequantizeLinear", ("p", "y_s", "y_z"), ("y",)),
    ]
    return write_model(nodes, constants, {"x": shape}, {"y": shape})


class _Tensor(NamedTuple):
    """A tensor of the `.tflite` file."""

    name: str
    shape: list[int]
    dtype: str
    scale: float
    zero_point: int = 0
    content: np.ndarray | None = None


def _tflite(numbers: str) -> bytes:
    try:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError(error.name or "flatbuffers", "export") from error
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers = 3, [schema.BufferT()]
    shape = [1, SIDE, SIDE, CHANNELS]
    is_int8 = numbers == "int8"
    bias = np.zeros(CHANNELS, np.int32 if is_int8 else np.float32)
    tensors = (
        _Tensor("x", shape, numbers, 1 / 255, -128),
        _Tensor("w", [CHANNELS, 1, 1, CHANNELS], numbers, 0.001, 0, _weights(numbers)),
        _Tensor("b", [CHANNELS], "int32" if is_int8 else numbers, 0.001 / 255, 0, bias),
        _Tensor("y", shape, numbers, 0.1),
    )
    graph.tensors = [_table(schema, model, tensor) for tensor in tensors]
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3 if is_int8 else 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    operator.builtinOptions = schema.Conv2DOptionsT()
    operator.builtinOptions.strideH = operator.builtinOptions.strideW = 1
    graph.inputs, graph.outputs, graph.operators = [0], [3], [operator]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _table(schema: Any, model: Any, tensor: _Tensor) -> Any:
    table = schema.TensorT()
    table.name, table.shape = tensor.name.encode(), tensor.shape
    table.type = getattr(schema.TensorType, tensor.dtype.upper())
    if tensor.dtype != "float32":
        # The weights and the bias have a scale for each output channel.
        count = CHANNELS if tensor.content is not None else 1
        table.quantization = schema.QuantizationParametersT()
        table.quantization.scale = [tensor.scale] * count
        table.quantization.zeroPoint = [tensor.zero_point] * count
        table.quantization.quantizedDimension = 0
    if tensor.content is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(tensor.content.tobytes(), np.uint8)
        model.buffers.append(buffer)
        table.buffer = len(model.buffers) - 1
    return table


def require_rate(macs: int, ms: float) -> float:
    """Return billions of multiply-accumulates per second. Raise `EngineError` if the engine reported no time."""
    if not macs or ms <= 0:
        msg = "the profiler of the engine reported no time for the convolution that measures the peak"
        raise EngineError(msg)
    return macs / ms / 1e6

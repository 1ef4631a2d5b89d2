"""Small `.tflite` files with operators that TensorFlow's converter rarely writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import NDArray

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float64): schema.TensorType.FLOAT64,
    np.dtype(np.complex64): schema.TensorType.COMPLEX64,
    np.dtype(object): schema.TensorType.STRING,
}


class Tensor(NamedTuple):
    """A tensor of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: Any = np.float32
    content: NDArray[Any] | None = None
    """Content of a constant. None for a computed tensor."""
    variable: bool = False
    """True for a tensor that keeps its content between inferences."""
    open_shape: tuple[int, ...] | None = None
    """Shape with -1 for each axis that is not fixed."""
    scales: tuple[float, ...] = ()
    axis: int = 0
    """Axis along which the scales differ."""


class Operator(NamedTuple):
    """An operator of a file. Its inputs and outputs are the indices of tensors."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    custom: bool = False
    options: tuple[str, Mapping[str, Any]] | None = None
    """Name of the options' table, and the options."""
    custom_options: bytes = b""
    version: int = 1


def build(
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[int],
    outputs: Sequence[int],
    signatures: Sequence[str] = (),
) -> bytes:
    """Return the content of a file with one graph."""
    model = schema.ModelT()
    model.version, model.description, model.buffers = 3, b"test", [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(model, tensor) for tensor in tensors]
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    graph.operators, model.operatorCodes = [], []
    for place, operator in enumerate(operators):
        model.operatorCodes.append(_code(operator))
        graph.operators.append(_operator(operator, place))
    model.subgraphs = [graph]
    model.signatureDefs = [_signature(name, tensors, inputs, outputs) for name in signatures]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(model: Any, tensor: Tensor) -> Any:
    table = schema.TensorT()
    table.name, table.shape, table.type = tensor.name.encode(), list(tensor.shape), TYPES[np.dtype(tensor.dtype)]
    table.isVariable, table.shapeSignature = tensor.variable, tensor.open_shape
    if tensor.scales:
        table.quantization = schema.QuantizationParametersT()
        table.quantization.scale = list(tensor.scales)
        table.quantization.zeroPoint = [0] * len(tensor.scales)
        table.quantization.quantizedDimension = tensor.axis
    if tensor.content is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(tensor.content.astype(tensor.dtype).tobytes(), np.uint8)
        model.buffers.append(buffer)
        table.buffer = len(model.buffers) - 1
    return table


def _code(operator: Operator) -> Any:
    code = schema.OperatorCodeT()
    number = schema.BuiltinOperator.CUSTOM if operator.custom else getattr(schema.BuiltinOperator, operator.name)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), operator.version
    code.customCode = operator.name.encode() if operator.custom else None
    return code


def _operator(operator: Operator, place: int) -> Any:
    table = schema.OperatorT()
    table.opcodeIndex, table.inputs, table.outputs = place, list(operator.inputs), list(operator.outputs)
    if operator.options is not None:
        name, values = operator.options
        table.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        table.builtinOptions = getattr(schema, f"{name}T")()
        for key, value in values.items():
            setattr(table.builtinOptions, key, value)
    if operator.custom_options:
        table.customOptions = np.frombuffer(operator.custom_options, np.uint8)
    return table


def _signature(name: str, tensors: Sequence[Tensor], inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = name.encode(), 0
    signature.inputs, signature.outputs = (
        [_entry(tensors[index].name, index) for index in side] for side in (inputs, outputs)
    )
    return signature


def _entry(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), index
    return entry


def post_process(
    *, regular: bool, per_class: int = 100, anchors: int = 200, classes: int = 7, boxes: int = 10
) -> bytes:
    """Return a file whose only operator is `TFLite_Detection_PostProcess`.

    Args:
        regular: True for suppression per class (`use_regular_nms`), False for the fast algorithm.
        per_class: Maximum number of boxes per class.
        anchors: Number of anchors, of random position and size.
        classes: Number of classes without the background.
        boxes: Maximum number of boxes.
    """
    generator = np.random.default_rng(0)
    places = np.concatenate([generator.random((anchors, 2)), 0.1 + 0.3 * generator.random((anchors, 2))], axis=1)
    options = flexbuffers.Builder()
    with options.Map():
        options.Int("max_detections", boxes)
        options.Int("max_classes_per_detection", 1)
        options.Int("detections_per_class", per_class)
        options.Bool("use_regular_nms", regular)
        options.Float("nms_score_threshold", 0.0)
        options.Float("nms_iou_threshold", 0.5)
        options.Int("num_classes", classes)
        for name, scale in (("y_scale", 10.0), ("x_scale", 10.0), ("h_scale", 5.0), ("w_scale", 5.0)):
            options.Float(name, scale)
    tensors = [
        Tensor("boxes", (1, anchors, 4)),
        Tensor("scores", (1, anchors, classes + 1)),
        Tensor("anchors", (anchors, 4), content=places),
        Tensor("detection_boxes", (1, boxes, 4)),
        Tensor("detection_classes", (1, boxes)),
        Tensor("detection_scores", (1, boxes)),
        Tensor("num_detections", (1,)),
    ]
    name = "TFLite_Detection_PostProcess"
    operator = Operator(name, [0, 1, 2], [3, 4, 5, 6], custom=True, custom_options=bytes(options.Finish()))
    return build(tensors, [operator], [0, 1], [3, 4, 5, 6])

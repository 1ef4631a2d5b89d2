"""Read `.onnx` files that other tools wrote, and fix the sizes of their axes."""

from __future__ import annotations

import ast
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec

from orilla.export.imports.foreign import FileHints, ForeignModel, ForeignTensor, most_frequent
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.registry import TASKS

MIN_OPSET = 7
"""Oldest version of the operator set that ONNX Runtime supports."""

CONVOLUTIONS = ("Conv", "ConvTranspose", "QLinearConv", "ConvInteger")
RECURRENT = ("LSTM", "GRU", "RNN", "Loop", "Scan")
NORMALISING = ("Sub", "Div", "Mul", "Add", "BatchNormalization")
"""Operators with which a network normalises its input, if they come first."""

TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""Names of the types of ONNX (`TensorProto.DataType`) that a session supports."""

INTEGER_OPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QuantizeLinear")
"""Operators that compute with integers, or that precede such operators."""

SHAPE_OPERATORS = ("Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Cast", "Transpose", "DequantizeLinear")
"""Operators that do not change the values of an output."""


def describe(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the description of a model file. See `registry.Importer`.

    Raises:
        ValueError: The file cannot be used. The message says why.
    """
    import onnx

    loaded = _fixed(_load(model), sizes)
    graph = loaded.graph
    weights: Counter[str] = Counter()
    for tensor in graph.initializer:
        weights[TYPES.get(tensor.data_type, "other")] += math.prod(tensor.dims)
    weights = Counter({name: count for name, count in weights.items() if name not in ("int64", "int32", "bool")})
    counts = Counter(node.op_type for node in graph.node)
    quantised = any(counts[name] for name in INTEGER_OPERATORS)
    inputs = _inputs(graph)
    first = next((node.op_type for node in graph.node if inputs and inputs[0].name in node.input), None)
    ForeignModel(
        format="onnx",
        inputs=tuple(_tensor(value, onnx) for value in inputs),
        outputs=tuple(_tensor(value, onnx) for value in graph.output),
        weights=most_frequent(dict(weights), "float32"),
        activations="int8" if quantised else most_frequent(dict(weights), "float32"),
        parameters=sum(weights.values()),
        convolutions=tuple(name for name in counts if name in CONVOLUTIONS),
        recurrent=tuple(name for name in counts if name in RECURRENT),
        normalising=first if first in NORMALISING else None,
        activation=_activation(graph),
        hints=_hints(loaded),
    ).write(out)


def copy(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the model with fixed sizes, as one file without external data.

    Raises:
        ValueError: The file cannot be used. The message says why.
    """
    import onnx

    loaded = _fixed(_load(model), sizes)
    onnx.save(loaded, out)


def _load(model: str) -> Any:
    """Load a file with its external data.

    Raises:
        ValueError: The file is damaged, external data is missing, or the version of the operator set is too old.
    """
    import onnx

    path = Path(model)
    try:
        loaded = onnx.load(model, load_external_data=False)
    except Exception as error:  # Google's protobuf library raises its own exceptions.
        msg = f"{path.name} is damaged, or is not an .onnx file"
        raise ValueError(msg) from error
    if not loaded.graph.node:
        msg = f"{path.name} is damaged, or is not an .onnx file: it has no operators"
        raise ValueError(msg)
    for tensor in loaded.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            _check_location(path, location)
    try:
        onnx.load_external_data_for_model(loaded, str(path.parent))
    except Exception as error:
        msg = f"the external data of {path.name} cannot be read: {str(error).splitlines()[0]}"
        raise ValueError(msg) from error
    _check_operators(loaded, path.name)
    return loaded


def _check_location(path: Path, location: str) -> None:
    """Raise `ValueError` if external data is missing or lies outside the folder of the model."""
    file = (path.parent / location).resolve()
    if path.parent.resolve() not in file.parents:
        msg = f"{path.name} refers to external data outside its folder: {location!r}"
        raise ValueError(msg)
    if not file.is_file():
        msg = f"{path.name} needs the file {location!r} with its weights beside it: copy it there"
        raise ValueError(msg)


def _check_operators(loaded: Any, name: str) -> None:
    import onnx

    versions = {entry.domain or "ai.onnx": entry.version for entry in loaded.opset_import}
    version, newest = versions.get("ai.onnx", 0), onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= version <= newest:
        msg = f"{name} uses version {version} of the operator set: use a version from {MIN_OPSET} to {newest}"
        raise ValueError(msg)
    known = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
    custom = sorted({f"{node.domain}:{node.op_type}" for node in loaded.graph.node if node.domain not in known})
    if custom:
        msg = f"{name} has custom operators, which no engine supports: {', '.join(custom)}"
        raise ValueError(msg)


def _fixed(loaded: Any, sizes: list[int] | None) -> Any:
    """Return the model with a batch of one and with fixed sizes of all input axes.

    Args:
        loaded: The model.
        sizes: Sizes of the axes that are not fixed: height and width of an image, or a length.

    Raises:
        ValueError: An axis has no size, there are too many sizes, or the network cannot run with these sizes.
    """
    import onnx

    changed, waiting = False, list(sizes or [])
    for value in _inputs(loaded.graph):
        axes = value.type.tensor_type.shape.dim
        if axes and not axes[0].dim_value:
            axes[0].dim_value, changed = 1, True
        for axis in list(axes)[1:]:
            if axis.dim_value > 0:
                continue
            if not waiting:
                described = _tensor(value, onnx).describe()
                msg = f"the input {described} has axes without a fixed size: set `input`, such as 224x224"
                raise ValueError(msg)
            axis.dim_value, changed = waiting.pop(0), True
    if waiting:
        msg = f"`input` has more sizes than the model has axes without a fixed size, by {len(waiting)}: leave them out"
        raise ValueError(msg)
    if not changed:
        return loaded
    del loaded.graph.value_info[:]
    for value in loaded.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(loaded, data_prop=True)
    except Exception as error:
        msg = f"the network cannot run with `input` {sizes}: {str(error).splitlines()[0]}"
        raise ValueError(msg) from error


def _inputs(graph: Any) -> list[Any]:
    """Return the inputs of a graph. Old files list the weights among them."""
    initialised = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initialised]


def _tensor(value: Any, onnx: Any) -> ForeignTensor:
    kind = value.type.tensor_type
    if kind.elem_type not in TYPES:
        name = onnx.TensorProto.DataType.Name(kind.elem_type) if kind.elem_type else value.type.WhichOneof("value")
        msg = f"{value.name} has type {name}, which no session supports"
        raise ValueError(msg)
    shape = tuple(int(axis.dim_value) if axis.dim_value > 0 else 0 for axis in kind.shape.dim)
    return ForeignTensor(value.name, shape, TYPES[kind.elem_type])


def _activation(graph: Any) -> Literal["softmax", "sigmoid"] | None:
    """Return the activation that computes the only output. Operators that only change the shape are skipped."""
    if len(graph.output) != 1:
        return None
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get(graph.output[0].name)
    while node is not None and node.op_type in SHAPE_OPERATORS and node.input:
        node = producers.get(node.input[0])
    kinds: dict[str, Literal["softmax", "sigmoid"]] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
    return None if node is None else kinds.get(node.op_type)


def _hints(loaded: Any) -> FileHints:
    """Return the facts in the metadata properties. Orilla and exporters of detectors write `names`."""
    properties = {entry.key: entry.value for entry in loaded.metadata_props}
    if not properties:
        return FileHints()
    hints: dict[str, Any] = {}
    if (labels := _labels(properties.get("names", ""))) is not None:
        hints["labels"] = labels
    task = properties.get("orilla.task") or properties.get("task")
    hints["task"] = task if task in TASKS else None
    hints["preprocess"] = _own_preprocess(properties.get("orilla.preprocess", ""))
    return FileHints(**hints)


def _labels(text: str) -> tuple[str, ...] | None:
    """Return the class names in a list, or in a dictionary by class number, written as JSON or Python."""
    try:
        names = json.loads(text)
    except ValueError:
        try:
            names = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if isinstance(names, dict):
        try:
            names = [names[key] for key in sorted(names, key=int)]
        except (TypeError, ValueError):
            return None
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _own_preprocess(text: str) -> Preprocess | None:
    """Return the preprocessing of images that `orilla extract` wrote into the file, or None."""
    try:
        document = json.loads(text)
        document.pop("values", None)
        spec = msgspec.convert(document, Preprocess)
    except (ValueError, TypeError, AttributeError):
        return None
    return None if spec.problem() is not None else spec

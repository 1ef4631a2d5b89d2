"""Read `.onnx` files that other tools wrote, and fix the sizes of their axes."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.export.imports import onnx_check
from orilla.export.imports.foreign import (
    FileHints,
    ForeignModel,
    ForeignTensor,
    OpenSizes,
    check_count,
    most_frequent,
    usual_sizes,
)
from orilla.export.imports.foreign_check import check_inputs
from orilla.export.imports.trial import are_distributions, kind_of_values
from orilla.runtime.engines.onnx_errors import cause
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.registry import TASKS

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
"""Names of the ONNX types (`TensorProto.DataType`) that a session supports."""

INTEGER_OPERATORS = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "QuantizeLinear")
"""Operators that compute with integers, or that precede such operators."""

SHAPE_OPERATORS = ("Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Cast", "Transpose", "DequantizeLinear")
"""Operators that do not change the values of an output."""


def describe(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the description of a model file. See `registry.Importer`.

    Raises:
        ValueError: The file cannot be used. The message states the reason.
    """
    loaded, open_sizes = _fixed(_load(model), sizes)
    graph = loaded.graph
    weights: Counter[str] = Counter()
    for tensor in graph.initializer:
        weights[TYPES.get(tensor.data_type, "other")] += math.prod(tensor.dims)
    weights = Counter({name: count for name, count in weights.items() if name not in ("int64", "int32", "bool")})
    counts = Counter(node.op_type for node in graph.node)
    quantised = any(counts[name] for name in INTEGER_OPERATORS)
    inputs = _inputs(graph)
    check_inputs([_tensor(value) for value in inputs])
    outputs, values = _outputs(loaded, Path(model).name, open_sizes)
    only = next(iter(values.values())) if len(values) == 1 else np.zeros(0)
    first = next((node.op_type for node in graph.node if inputs and inputs[0].name in node.input), None)
    ForeignModel(
        format="onnx",
        inputs=tuple(_tensor(value) for value in inputs),
        outputs=outputs,
        weights=most_frequent(dict(weights), "float32"),
        activations="int8" if quantised else most_frequent(dict(weights), "float32"),
        parameters=sum(weights.values()),
        convolutions=tuple(name for name in counts if name in CONVOLUTIONS),
        recurrent=tuple(name for name in counts if name in RECURRENT),
        normalising=first if first in NORMALISING else None,
        activation=_activation(graph) or ("softmax" if are_distributions(only) else None),
        values=kind_of_values(only),
        hints=_hints(loaded),
        changing={
            tensor.name: operator
            for tensor in outputs
            if 0 in tensor.shape and (operator := onnx_check.changing(graph, tensor.name)) is not None
        },
        open_sizes=open_sizes,
    ).write(out)


def copy(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the model with fixed sizes, as one file without external data.

    Raises:
        ValueError: The file cannot be used. The message states the reason.
    """
    import onnx

    loaded, _ = _fixed(_load(model), sizes)
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
        with path.open("rb") as stream:
            begins = stream.read(8).hex(" ")
        msg = (
            f"{path.name} cannot be read as an ONNX model (it has {path.stat().st_size} bytes and begins with "
            f"{begins}): download it again, and compare its size with that of the original"
        )
        raise ValueError(msg) from error
    if not loaded.graph.node:
        msg = f"{path.name} is not an ONNX model with operators: its graph is empty; export the model again"
        raise ValueError(msg)
    onnx_check.check_external_data(path, loaded)
    try:
        onnx.load_external_data_for_model(loaded, str(path.parent))
    except Exception as error:
        msg = f"the external data of {path.name} cannot be read: {str(error).splitlines()[0]}"
        raise ValueError(msg) from error
    onnx_check.check_operators(loaded, path.name)
    return loaded


def _outputs(
    loaded: Any, name: str, open_sizes: OpenSizes | None
) -> tuple[tuple[ForeignTensor, ...], dict[str, NDArray[Any]]]:
    """Run the model once as a test. Return its outputs, and their values. The values are empty if the test fails.

    A size that depends on input values is stated as 0.

    Raises:
        ValueError: The model cannot run, or its outputs are random.
    """
    described = [_tensor(value) for value in loaded.graph.output]
    try:
        found = onnx_check.trial(loaded, name)
    except ValueError:
        if open_sizes is None:
            raise
        return tuple(described), {}  # The guessed sizes may be wrong.
    outputs = []
    for value, tensor in zip(loaded.graph.output, described, strict=True):
        shape = found[tensor.name].shape
        stated = value.type.tensor_type.HasField("shape") and 0 not in tensor.shape
        if not stated and onnx_check.changing(loaded.graph, tensor.name) is not None:
            shape = tensor.shape if 0 in tensor.shape else (0,) * len(shape)
        outputs.append(msgspec.structs.replace(tensor, shape=shape))
    return tuple(outputs), found


def _fixed(loaded: Any, sizes: list[int] | None) -> tuple[Any, OpenSizes | None]:
    """Return the model with a batch size of 1 and fixed input sizes, and the sizes that were guessed.

    Args:
        loaded: The model.
        sizes: Sizes of the axes that are not fixed: height and width of an image, or a length. If None, they are
            guessed.

    Raises:
        ValueError: There are too few or too many sizes, or the network cannot run with these sizes.
    """
    import onnx

    values, changed = _inputs(loaded.graph), False
    open_axes = [axis for value in values for axis in list(value.type.tensor_type.shape.dim)[1:] if axis.dim_value <= 0]
    for value in values:
        axes = value.type.tensor_type.shape.dim
        if axes and not axes[0].dim_value:
            axes[0].dim_value, changed = 1, True
    before = [_tensor(value) for value in values]
    described = ", ".join(tensor.describe() for tensor in before if 0 in tensor.shape[1:])
    guess = None
    if sizes is None and open_axes:
        guess = _guess(loaded, before, described, len(open_axes))
    chosen = list(guess.guess) if guess is not None else sizes or []
    check_count(len(chosen), len(open_axes), described)
    for axis, size in zip(open_axes, chosen, strict=True):
        axis.dim_value, changed = size, True
    if not changed:
        return loaded, guess
    del loaded.graph.value_info[:]
    for value in loaded.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return onnx.shape_inference.infer_shapes(loaded, data_prop=True), guess
    except Exception as error:
        if guess is not None:
            return loaded, guess
        msg = f"the network cannot run with `input` {'x'.join(map(str, chosen))}: {cause(error)}"
        raise ValueError(msg) from error


def _guess(loaded: Any, inputs: list[ForeignTensor], described: str, count: int) -> OpenSizes:
    """Return the probable sizes of the axes that are not fixed."""
    sizes = [
        int(size) for entry in loaded.metadata_props if entry.key == "imgsz" for size in re.findall(r"\d+", entry.value)
    ]
    if len(sizes) == count:
        return OpenSizes(described, tuple(sizes), "the file states imgsz")
    image = len(inputs) == 1 and len(inputs[0].shape) == 4 and count == 2
    return usual_sizes(described, count, image=image)


def _inputs(graph: Any) -> list[Any]:
    """Return the inputs of a graph. Old files also list the weights as inputs."""
    initialised = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initialised]


def _tensor(value: Any) -> ForeignTensor:
    import onnx

    kind = value.type.tensor_type
    if kind.elem_type not in TYPES:
        name = (
            onnx.TensorProto.DataType.Name(kind.elem_type).lower() if kind.elem_type else value.type.WhichOneof("value")
        )
        advice = (
            "export the model without ZipMap"
            if name == "sequence_type"
            else "convert it inside the model, as with Cast"
        )
        msg = f"{value.name} has the type {name.removesuffix('_type')}, which no engine supports: {advice}"
        raise ValueError(msg)
    shape = tuple(int(axis.dim_value) if axis.dim_value > 0 else 0 for axis in kind.shape.dim)
    return ForeignTensor(value.name, shape, TYPES[kind.elem_type])


def _activation(graph: Any) -> Literal["softmax", "sigmoid"] | None:
    """Return the activation that computes the only output. Operators that only change the shape are skipped."""
    if len(graph.output) != 1:
        return None
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get(graph.output[0].name)
    while node is not None and node.op_type in (*SHAPE_OPERATORS, "Clip") and node.input:
        node = producers.get(node.input[0])
    if node is None:
        return None
    if node.op_type in ("Div", "Reciprocal"):  # Some converters write a sigmoid as 1 / (1 + exp(-x)).
        divisor = producers.get(node.input[-1])
        terms = () if divisor is None or divisor.op_type != "Add" else divisor.input
        exponential = any(producers[term].op_type == "Exp" for term in terms if term in producers)
        return "sigmoid" if exponential else None
    kinds: dict[str, Literal["softmax", "sigmoid"]] = {
        "Softmax": "softmax",
        "Sigmoid": "sigmoid",
        "HardSigmoid": "sigmoid",
    }
    return kinds.get(node.op_type)


def _hints(loaded: Any) -> FileHints:
    """Return the facts in the metadata properties. Orilla and exporters of detectors write `names`."""
    properties = {entry.key: entry.value for entry in loaded.metadata_props}
    if not properties:
        return FileHints()
    hints: dict[str, Any] = {}
    if (labels := _labels(properties.get("names", ""))) is not None:
        hints["labels"] = labels
    task = properties.get("orilla.task") or properties.get("task")
    if task == "pose" and "kpt_shape" in properties:  # Boxes with keypoints are a form of the task `detect`.
        task = "detect"
    hints["task"] = task if task in TASKS else None
    hints["preprocess"] = _own_preprocess(properties.get("orilla.preprocess", ""))
    return FileHints(**hints)


def _labels(text: str) -> tuple[str, ...] | None:
    """Return the class names in a list, or in a dictionary by class index, written as JSON or Python."""
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
    """Return the image preprocessing that `orilla extract` wrote into the file, or None."""
    try:
        document = json.loads(text)
        document.pop("values", None)
        spec = msgspec.convert(document, Preprocess)
    except (ValueError, TypeError, AttributeError):
        return None
    return None if spec.problem() is not None else spec

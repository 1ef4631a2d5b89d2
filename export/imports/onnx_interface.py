"""Give a `.tflite` file the names, the order and the output shapes of the `.onnx` file that it was converted from.

Converters change names and the order of axes and outputs. This module therefore runs both files on the same random
inputs, and matches outputs with equal values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tflite.rewrite import rewritten

MAX_ERROR = 0.05
"""Largest difference between the outputs of both files, as a share of their root mean square. Float conversions differ
by less than 0.001, and a wrong output by more than 0.5. The check of the export measures the exact difference."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Output:
    """The tensor of a `.tflite` file that corresponds to an output of the `.onnx` file."""

    name: str
    tensor: int
    """Index of the tensor in the `.tflite` file."""
    shape: tuple[int, ...]
    """Shape in the `.onnx` file."""
    order: tuple[int, ...] | None
    """Order of the axes that transposes the tensor to `shape`. None if it already has this shape."""


def with_interface_of(model: Path, data: bytes) -> bytes:
    """Return a `.tflite` file whose signature has the names of an `.onnx` file, and whose outputs have its shapes.

    Args:
        model: Path of the `.onnx` file. All its axes have fixed sizes.
        data: Content of the converted `.tflite` file.

    Raises:
        ValueError: An input or output is missing, or its values differ.
    """
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    original = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in original.get_outputs()]
    samples = {tensor.name: _sample(tensor.shape, tensor.type) for tensor in original.get_inputs()}
    expected: Arrays = dict(zip(names, original.run(None, samples), strict=True))
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    inputs = _inputs(samples, interpreter)
    for name, details in inputs.items():
        sample = samples[name]
        if sample.shape != tuple(details["shape"]):
            sample = np.moveaxis(sample, 1, -1)
        interpreter.set_tensor(details["index"], sample.astype(details["dtype"]))
    interpreter.invoke()
    found = {details["index"]: interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()}
    outputs = [_output(name, array, found) for name, array in expected.items()]
    indices = {name: int(details["index"]) for name, details in inputs.items()}
    return rewritten(data, lambda table, schema: _rename(table, schema, indices, outputs))


def _sample(shape: list[int], kind: str) -> NDArray[Any]:
    """Return random values: 0–1 for floats, 0 or 1 for other types. `kind` is a name such as `tensor(float)`."""
    generator = np.random.default_rng(0)
    dtype = {"float": "float32", "double": "float64"}.get(name := kind[len("tensor(") : -1], name)
    if dtype.startswith("float"):
        return generator.random(shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def _inputs(samples: Arrays, interpreter: Any) -> dict[str, Any]:
    """Return the details of the inputs of the `.tflite` file, by the names in the `.onnx` file.

    Raises:
        ValueError: The inputs of the files differ.
    """
    runner = interpreter.get_signature_runner()
    available: dict[str, Any] = dict(runner.get_input_details())
    found = {}
    for name, sample in samples.items():
        shapes = (sample.shape, np.moveaxis(sample, 1, -1).shape if sample.ndim > 2 else sample.shape)
        fitting = [key for key, details in available.items() if tuple(details["shape"]) in shapes]
        chosen = [key for key in fitting if _plain(key) == _plain(name)] or fitting
        if len(chosen) != 1:
            msg = f"onnx2tf changed the input {name} {list(sample.shape)}: its file takes {_described(available)}"
            raise ValueError(msg)
        found[name] = available.pop(chosen[0])
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _described(details: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {[int(size) for size in entry['shape']]}" for name, entry in details.items()) or "nothing"


def _output(name: str, expected: NDArray[Any], found: dict[int, NDArray[Any]]) -> _Output:
    """Find the tensor with the values of an output, remove it from `found`, and return it.

    Raises:
        ValueError: No tensor has these values.
    """
    last_to_second = (0, expected.ndim - 1, *range(1, expected.ndim - 1))
    orders = [None, last_to_second] if expected.ndim > 2 else [None]
    errors = {
        (tensor, order): error
        for order in orders
        for tensor, array in found.items()
        if (error := _error(array if order is None or array.ndim != len(order) else array.transpose(order), expected))
        <= MAX_ERROR
    }
    if not errors:
        shapes = ", ".join(str(list(array.shape)) for array in found.values())
        msg = (
            f"the outputs of onnx2tf's file differ from those of the .onnx file: no output has the values of {name} "
            f"{list(expected.shape)} (its outputs: {shapes or 'none'})"
        )
        raise ValueError(msg)
    tensor, order = min(errors, key=lambda key: errors[key])
    del found[tensor]
    return _Output(name, tensor, expected.shape, order)


def _error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the root mean square of the difference, divided by the root mean square of the expected values."""
    if found.shape != expected.shape:
        return np.inf
    difference = found.astype(np.float64) - expected
    return float(np.sqrt(np.mean(difference**2)) / max(np.sqrt(np.mean(expected.astype(np.float64) ** 2)), 1e-9))


def _rename(model: Any, schema: Any, inputs: dict[str, int], outputs: list[_Output]) -> None:
    """Write the signature of the model, and transpose outputs whose axes have a different order."""
    main = model.subgraphs[0]
    results = {
        output.name: output.tensor if output.order is None else _transposed(model, schema, output) for output in outputs
    }
    main.inputs = np.array(list(inputs.values()), np.int32)
    main.outputs = np.array(list(results.values()), np.int32)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_entry(schema, name, tensor) for name, tensor in inputs.items()]
    signature.outputs = [_entry(schema, name, tensor) for name, tensor in results.items()]
    model.signatureDefs = [signature]


def _entry(schema: Any, name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry


def _transposed(model: Any, schema: Any, output: _Output) -> int:
    """Add an operator that transposes an output, and return the index of its result."""
    assert output.order is not None
    main, kinds = model.subgraphs[0], schema.BuiltinOperator
    content, code, operator = schema.BufferT(), schema.OperatorCodeT(), schema.OperatorT()
    content.data = np.array(output.order, np.int32).view(np.uint8)
    model.buffers.append(content)
    order = _tensor(schema, f"{output.name}/order", (len(output.order),), schema.TensorType.INT32)
    order.buffer = len(model.buffers) - 1
    result = _tensor(schema, f"{output.name}/transposed", output.shape, main.tensors[output.tensor].type)
    main.tensors += [order, result]
    index = len(main.tensors) - 1
    code.builtinCode = code.deprecatedBuiltinCode = kinds.TRANSPOSE
    code.version = 1
    model.operatorCodes.append(code)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = np.array([output.tensor, index - 1], np.int32)
    operator.outputs = np.array([index], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.TransposeOptions
    operator.builtinOptions = schema.TransposeOptionsT()
    main.operators.append(operator)
    return index


def _tensor(schema: Any, name: str, shape: tuple[int, ...], kind: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), kind
    return tensor

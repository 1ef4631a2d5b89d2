"""Read `.tflite` files that other tools wrote."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from orilla.export.imports.foreign import FileHints, ForeignModel, ForeignTensor, most_frequent
from orilla.runtime.engines.litert import slots, tensor_details
from orilla.runtime.tflite.graph import Operator, read_operators
from orilla.runtime.tflite.model_metadata import read_metadata

SUPPORTED_CUSTOM = ("TFLite_Detection_PostProcess", "Convolution2DTransposeBias", "MaxPoolingWithArgmax2D")
"""Custom operators that LiteRT's interpreter supports."""

SHAPE_OPERATORS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "DEQUANTIZE", "QUANTIZE", "CAST")
"""Operators that do not change the values of an output, except by rounding."""

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
RECURRENT = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "WHILE")
NORMALISING = ("SUB", "DIV", "MUL", "ADD")
"""Operators with which a network normalises its input, if they come first."""


def describe(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the description of a model file. See `registry.Importer`.

    Raises:
        ValueError: The file cannot be used. The message says why.
    """
    path = Path(model)
    data = path.read_bytes()
    operators = read_operators(data, path.name)
    custom = sorted({operator.name for operator in operators if operator.custom} - set(SUPPORTED_CUSTOM))
    if custom:
        msg = f"{path.name} has custom operators, which no engine supports: {', '.join(custom)}"
        raise ValueError(msg)
    inputs, outputs = _tensors(data, path.name, sizes)
    weights: Counter[str] = Counter()
    for operator in operators:
        for tensor in operator.parameters:
            if tensor.dtype not in ("INT32", "INT64", "BOOL", "STRING"):
                weights[tensor.dtype.lower()] += tensor.size
    computed: Counter[str] = Counter()
    for operator in operators:
        for tensor in operator.outputs:
            computed[tensor.dtype.lower()] += tensor.size
    names = dict.fromkeys(operator.name for operator in operators)
    input_names = {tensor.name for tensor in inputs[:1]}
    first = next(
        (operator.name for operator in operators if input_names & {tensor.name for tensor in operator.activations}),
        None,
    )
    ForeignModel(
        format="tflite",
        inputs=inputs,
        outputs=outputs,
        weights=most_frequent(dict(weights), "float32"),
        activations=most_frequent(dict(computed), "float32"),
        parameters=sum(weights.values()),
        convolutions=tuple(name for name in names if name in CONVOLUTIONS),
        recurrent=tuple(name for name in names if name in RECURRENT),
        normalising=first if first in NORMALISING else None,
        activation=_activation(operators, outputs),
        hints=_hints(data, inputs),
    ).write(out)


def copy(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Copy the file. Its batch axis must be 1 or not fixed, and `sizes` must be None."""
    if sizes is not None:
        msg = "`input` is only for .onnx files: the sizes in a .tflite file are fixed"
        raise ValueError(msg)
    shutil.copyfile(model, out)


def _tensors(
    data: bytes, name: str, sizes: list[int] | None
) -> tuple[tuple[ForeignTensor, ...], tuple[ForeignTensor, ...]]:
    """Return the inputs and outputs. An inference with zeros determines the shapes of the outputs.

    Raises:
        ValueError: The interpreter rejects the file, or the inference fails.
    """
    if sizes is not None:
        msg = "`input` is only for .onnx files: the sizes in a .tflite file are fixed"
        raise ValueError(msg)
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        interpreter.invoke()
        _, outputs = tensor_details(interpreter)
        shapes = [tuple(interpreter.get_tensor(details["index"]).shape) for _, details in outputs]
    except (RuntimeError, ValueError) as error:
        msg = f"{name} cannot run: {str(error).strip().splitlines()[0]}"
        raise ValueError(msg) from error
    input_slots, output_slots = slots(interpreter)
    return (
        tuple(ForeignTensor(slot.name, slot.shape, str(slot.dtype), slot.quantisation) for slot in input_slots),
        tuple(
            ForeignTensor(slot.name, shape, str(slot.dtype), slot.quantisation)
            for slot, shape in zip(output_slots, shapes, strict=True)
        ),
    )


def _activation(
    operators: tuple[Operator, ...], outputs: tuple[ForeignTensor, ...]
) -> Literal["softmax", "sigmoid"] | None:
    """Return the activation that computes the only output. Operators that only change the shape are skipped."""
    if len(outputs) != 1:
        return None
    producers = {id(tensor): operator for operator in operators for tensor in operator.outputs}
    operator: Operator | None = operators[-1] if operators else None
    while operator is not None and operator.name in SHAPE_OPERATORS and operator.activations:
        operator = producers.get(id(operator.activations[0]))
    kinds: dict[str, Literal["softmax", "sigmoid"]] = {"SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
    return None if operator is None else kinds.get(operator.name)


def _hints(data: bytes, inputs: tuple[ForeignTensor, ...]) -> FileHints:
    """Return the facts in the TFLite metadata.

    Without metadata, a quantised input takes RGB: TensorFlow, whose converter wrote the file, decodes images as RGB.
    """
    usual: Literal["rgb"] | None = "rgb" if any(tensor.quantisation is not None for tensor in inputs) else None
    metadata = read_metadata(data)
    if metadata is None:
        return FileHints(color=usual)
    return FileHints(
        labels=metadata.labels or None,
        mean=metadata.mean or None,
        std=metadata.std or None,
        color=metadata.color or usual,
    )

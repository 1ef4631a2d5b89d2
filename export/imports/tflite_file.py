"""Read `.tflite` files that other tools wrote."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orilla.export.imports import tflite_check
from orilla.export.imports.foreign import (
    FileHints,
    ForeignModel,
    ForeignTensor,
    OpenSizes,
    check_count,
    most_frequent,
    usual_sizes,
)
from orilla.export.imports.trial import are_distributions, kind_of_values
from orilla.runtime.engines.litert import slots
from orilla.runtime.tflite.graph import Operator, read_operators
from orilla.runtime.tflite.model_metadata import read_metadata
from orilla.runtime.tflite.rewrite import rewritten

SHAPE_OPERATORS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "DEQUANTIZE", "QUANTIZE", "CAST")
"""Operators that do not change the values of an output, except by rounding."""

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
RECURRENT = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "WHILE")
NORMALISING = ("SUB", "DIV", "MUL", "ADD")
"""Operators with which a network normalises its input, if they come first."""


def describe(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Write the description of a model file. See `registry.Importer`.

    Raises:
        ValueError: The file cannot be used. The message states the reason.
    """
    path = Path(model)
    data = path.read_bytes()
    operators = read_operators(data, path.name)
    tflite_check.check_operators(data, path.name)
    data, open_sizes = resized(data, sizes)
    inputs, outputs, values = _tensors(data, path.name)
    only = values[0] if len(values) == 1 else np.zeros(0)
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
        activation=_activation(operators, outputs) or ("softmax" if are_distributions(only) else None),
        values=kind_of_values(only),
        hints=_hints(data, inputs),
        open_sizes=open_sizes,
    ).write(out)


def copy(model: str, out: str, sizes: list[int] | None = None) -> None:
    """Copy the file. Axes that are not fixed get the given sizes in the copy."""
    path = Path(model)
    data = path.read_bytes()
    changed, _ = resized(data, sizes)
    if changed is data:
        shutil.copyfile(model, out)
    else:
        Path(out).write_bytes(changed)


def resized(data: bytes, sizes: list[int] | None) -> tuple[bytes, OpenSizes | None]:
    """Return the content of the file with all input sizes fixed, and the sizes that were guessed.

    Args:
        data: Content of the file.
        sizes: Sizes of the axes that are not fixed, apart from the batch axis. If None, they are guessed.

    Raises:
        ValueError: There are too few or too many sizes.
    """
    tables = _open_inputs(data)
    axes = [
        (place, axis)
        for place, (_, signature) in tables.items()
        for axis, size in enumerate(signature)
        if axis and size < 0
    ]
    described = ", ".join(
        f"{name} [{','.join('?' if size < 0 else str(size) for size in (1, *signature[1:]))}]"
        for name, signature in tables.values()
    )
    guess = None
    if sizes is None and axes:
        guess = usual_sizes(described, len(axes), image=len(axes) == 2 and len(tables) == 1)
    chosen = list(guess.guess) if guess is not None else sizes or []
    check_count(len(chosen), len(axes), described)
    if not axes:
        return data, None

    def fix(model: Any, _: Any) -> None:
        graph = model.subgraphs[0]
        for (place, axis), size in zip(axes, chosen, strict=True):
            shape = np.array(graph.tensors[graph.inputs[place]].shape)
            shape[axis] = size
            graph.tensors[graph.inputs[place]].shape = graph.tensors[graph.inputs[place]].shapeSignature = shape

    return rewritten(data, fix), guess


def _open_inputs(data: bytes) -> dict[int, tuple[str, tuple[int, ...]]]:
    """Return the name and shape of each input that has axes without a fixed size.

    The keys are input indices. The size of such an axis is negative.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(data, 0).subgraphs[0]
    tensors = {place: graph.tensors[index] for place, index in enumerate(graph.inputs)}
    return {
        place: ((tensor.name or b"").decode(errors="replace"), tuple(map(int, tensor.shapeSignature)))
        for place, tensor in tensors.items()
        if tensor.shapeSignature is not None and any(size < 0 for size in tensor.shapeSignature[1:])
    }


def _tensors(data: bytes, name: str) -> tuple[tuple[ForeignTensor, ...], tuple[ForeignTensor, ...], list[NDArray[Any]]]:
    """Return the inputs, the outputs, and the values of the outputs. This function runs an inference.

    Raises:
        ValueError: The interpreter rejects the file, or the inference fails.
    """
    interpreter, values = tflite_check.trial(data, name)
    input_slots, output_slots = slots(interpreter)
    return (
        tuple(ForeignTensor(slot.name, slot.shape, str(slot.dtype), slot.quantisation) for slot in input_slots),
        tuple(
            ForeignTensor(slot.name, array.shape, str(slot.dtype), slot.quantisation)
            for slot, array in zip(output_slots, values, strict=True)
        ),
        values,
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

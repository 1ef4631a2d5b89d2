"""Read the intermediate tensors of a `.tflite` file with the LiteRT interpreter."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, EngineError
from orilla.export.layers.trace import INPUT, TracedTensor
from orilla.runtime.engines.litert import first_line, new_interpreter, runtime, slots, tensor_details
from orilla.runtime.engines.session import Binding, Inputs
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.preprocessing.quantization import Quantization, dequantise
from orilla.runtime.tflite.graph import read_operators
from orilla.runtime.tflite.rewrite import rewritten

NUMBERS = (np.float32, np.float16, np.int8, np.uint8, np.int16)
"""Types of the tensors that are compared. Tensors of other types, such as int32, contain positions and shapes."""


class LiteRTTrace:
    """A model on an interpreter that keeps all tensors."""

    channels_first = False

    def __init__(self, interpreter: Any, data: bytes, binding: Binding) -> None:
        self._interpreter = interpreter
        self.inputs, _ = slots(interpreter)
        self._inputs = Inputs(self.inputs, binding)
        self._input_indices = [details["index"] for _, details in tensor_details(interpreter)[0]]
        self._details = {details["name"]: details for details in interpreter.get_tensor_details()}
        self._quantisations: dict[str, Quantization | None] = {}
        self.tensors = tuple(self._tensors(data))

    def run(self, prepared: ModelInput) -> Mapping[str, NDArray[np.float32]]:
        """Run one inference on a prepared sample."""
        interpreter = self._interpreter
        self._inputs.fill(prepared, [interpreter.tensor(index)() for index in self._input_indices])
        interpreter.invoke()
        return {
            name: dequantise(interpreter.get_tensor(self._details[name]["index"]), quantisation)
            for name, quantisation in self._quantisations.items()
        }

    def _tensors(self, data: bytes) -> list[TracedTensor]:
        found = []
        for index in self._input_indices:
            (name,) = (name for name, details in self._details.items() if details["index"] == index)
            found.append(self._tensor(name, INPUT, ()))
        for operator in read_operators(data, "the variant"):
            reads = tuple(tensor.name for tensor in operator.activations)
            found += [self._tensor(tensor.name, operator.name, reads) for tensor in operator.outputs]
        return [tensor for tensor in found if tensor is not None]

    def _tensor(self, name: str, operator: str, reads: tuple[str, ...]) -> TracedTensor | None:
        """Return a tensor, or None if it contains no real numbers."""
        details = self._details.get(name)
        if details is None or details["dtype"] not in NUMBERS:
            return None
        scale, zero_point = details["quantization"]
        quantisation = Quantization(float(scale), int(zero_point)) if scale else None
        self._quantisations[name] = quantisation
        span = None if quantisation is None else quantisation.span(np.dtype(details["dtype"]))
        return TracedTensor(name, operator, reads, span, float(scale))


def open_delegated(data: bytes, binding: Binding) -> LiteRTTrace:
    """Open the content of a `.tflite` file with XNNPACK, as the engine `litert` runs it.

    XNNPACK does not expose its intermediate tensors, so all tensors become outputs of the model.

    Raises:
        DataError: The model has a loop or several inputs.
        EngineError: The interpreter rejects the file.
    """

    def edit(model: Any, _schema: Any) -> None:
        graph = model.subgraphs[0]
        computed = {index for operator in graph.operators for index in operator.outputs}
        graph.outputs = sorted(computed | set(graph.outputs))
        model.signatureDefs = []  # The signatures would not match the new outputs.
        if len(graph.inputs) > 1:
            msg = "the model has several inputs, so its layers cannot be compared on several engines"
            raise DataError(msg)

    _reject_loops(data)
    try:
        interpreter = new_interpreter(runtime("ai_edge_litert")[1], rewritten(data, edit), 1)
    except (RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        msg = f"LiteRT cannot load this variant: {first_line(error)}"
        raise EngineError(msg) from error
    return LiteRTTrace(interpreter, data, binding)


def _reject_loops(data: bytes) -> None:
    loops = [operator.name for operator in read_operators(data, "the variant") if operator.name in ("WHILE", "IF")]
    if loops:
        msg = f"the model contains the operator {loops[0]}, whose layers cannot be compared"
        raise DataError(msg)


def open_trace(data: bytes, binding: Binding) -> LiteRTTrace:
    """Open the content of a `.tflite` file.

    Raises:
        DataError: The model has a loop, whose tensors cannot be read.
        EngineError: The interpreter rejects the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    _reject_loops(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # The interpreter warns that it needs more memory.
            interpreter = Interpreter(
                model_content=data,
                experimental_preserve_all_tensors=True,
                # Use no delegate, because a delegate would not expose its intermediate tensors.
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        msg = f"LiteRT cannot load this variant: {first_line(error)}"
        raise EngineError(msg) from error
    return LiteRTTrace(interpreter, data, binding)

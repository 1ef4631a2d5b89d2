"""Read the intermediate tensors of an `.onnx` file with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import EngineError
from orilla.export.layers.trace import INPUT, TracedTensor
from orilla.runtime.engines import onnx as onnx_engine
from orilla.runtime.engines.onnx_errors import cause
from orilla.runtime.engines.session import Binding, Inputs
from orilla.runtime.preprocessing.input_kind import ModelInput

WRAPPERS = ("QuantizeLinear", "DequantizeLinear", "Cast")
"""Operators that only convert a tensor. Their outputs are the same tensor with a different type."""


class OnnxTrace:
    """A model in which all tensors are outputs."""

    channels_first = True

    def __init__(self, model: Any, binding: Binding, provider: str = onnx_engine.CPU) -> None:
        self._rounded = _rounded(model.graph)
        self.tensors = tuple(_tensors(model.graph, self._rounded))
        self._session = _session(model, [self._file_name(tensor.name) for tensor in self.tensors], provider)
        slots = onnx_engine.OnnxSession(self._session, "onnxruntime").inputs
        self._inputs = Inputs(slots, binding)
        self._arrays = dict(zip((slot.name for slot in slots), self._inputs.tensors(), strict=True))

    def run(self, prepared: ModelInput) -> Mapping[str, NDArray[np.float32]]:
        """Run one inference on a prepared sample."""
        self._inputs.fill(prepared, list(self._arrays.values()))
        names = [tensor.name for tensor in self.tensors]
        computed = [name for name in names if self._file_name(name) not in self._arrays]
        arrays = self._session.run([self._file_name(name) for name in computed], self._arrays)
        found = {name: self._arrays[name].copy() for name in names if name not in computed}
        found |= dict(zip(computed, arrays, strict=True))
        return {
            name: np.asarray(array, np.float32)
            for name, array in found.items()
            if isinstance(array, np.ndarray) and array.dtype.kind == "f"
        }

    def _file_name(self, name: str) -> str:
        """Return the name of the file's tensor that contains the values after rounding."""
        rounded = self._rounded.get(name)
        return name if rounded is None else rounded.dequantised


class _Rounding:
    """The quantisation of a tensor.

    Args:
        dequantised: Name of the tensor with the rounded values.
        scale: Difference between two adjacent values.
        span: Smallest and largest real number that the quantised tensor can represent.
    """

    def __init__(self, dequantised: str, scale: float, span: tuple[float, float]) -> None:
        self.dequantised, self.scale, self.span = dequantised, scale, span


def _rounded(graph: Any) -> dict[str, _Rounding]:
    """Return the scale and range of each tensor that the graph quantises. The keys are the names of the tensors."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    dequantised = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    found: dict[str, _Rounding] = {}
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.output[0] not in dequantised or node.input[0] in constants:
            continue
        scale, zero_point = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
        limits = np.iinfo(zero_point.dtype)
        low, high = (float(scale) * (limit - int(zero_point)) for limit in (limits.min, limits.max))
        found[node.input[0]] = _Rounding(dequantised[node.output[0]], float(scale), (low, high))
    return found


def _tensors(graph: Any, rounded: dict[str, _Rounding]) -> list[TracedTensor]:
    """Return the inputs and the computed tensors, except for the converted copies of a tensor."""
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    originals: dict[str, str] = {}
    found = [(tensor.name, INPUT, ()) for tensor in graph.input if tensor.name not in constants]
    for node in graph.node:
        if node.op_type in WRAPPERS:
            originals[node.output[0]] = originals.get(node.input[0], node.input[0])
            continue
        reads = tuple(originals.get(name, name) for name in node.input if name)
        reads = tuple(name for name in reads if name not in constants)
        found += [(name, node.op_type, reads) for name in node.output if name and name not in constants]
    return [
        TracedTensor(
            name,
            operator,
            reads,
            rounded[name].span if name in rounded else None,
            rounded[name].scale if name in rounded else 0.0,
        )
        for name, operator, reads in found
    ]


def _session(model: Any, names: list[str], provider: str) -> Any:
    import onnx
    import onnxruntime

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    known = {tensor.name for tensor in (*changed.graph.output, *changed.graph.input)}
    changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    # Do not optimise the graph, because an optimised graph would lack some of the tensors.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        providers = list(dict.fromkeys([provider, onnx_engine.CPU]))
        settings = [onnx_engine.OPTIONS.get(name, {}) for name in providers]
        return onnxruntime.InferenceSession(
            changed.SerializeToString(), options, providers=providers, provider_options=settings
        )
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class.
        msg = f"onnxruntime cannot load this variant: {cause(error)}"
        raise EngineError(msg) from error


def open_trace(data: bytes, binding: Binding, provider: str = onnx_engine.CPU) -> OnnxTrace:
    """Open the content of an `.onnx` file. Raise `EngineError` if ONNX Runtime rejects it or lacks the provider."""
    import onnx
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        msg = f"the installed onnxruntime {onnxruntime.__version__} has no {provider}"
        raise EngineError(msg)
    return OnnxTrace(onnx.load_from_string(data), binding, provider)

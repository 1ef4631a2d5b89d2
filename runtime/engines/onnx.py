"""Engine that runs `.onnx` files with ONNX Runtime, on the CPU or with another execution provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import EngineError
from orilla.runtime.engines.litert import first_line
from orilla.runtime.engines.onnx_errors import cause
from orilla.runtime.engines.session import (
    UNBOUND,
    Binding,
    Inputs,
    NotOfferedError,
    OutputConverter,
    Session,
    Slot,
)
from orilla.runtime.preprocessing.input_kind import ModelInput

CPU = "CPUExecutionProvider"

OPTIONS: dict[str, dict[str, str]] = {"OpenVINOExecutionProvider": {"device_type": "CPU"}}
"""Options of execution providers. Without these options, a provider would choose its device itself."""

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
}


@runtime_checkable
class _ReportsAssignment(Protocol):
    """An ONNX Runtime session that reports which provider runs each part of the graph."""

    def get_provider_graph_assignment_info(self) -> Sequence[Any]: ...


class OnnxSession:
    """A session that runs a model with ONNX Runtime."""

    def __init__(self, session: Any, engine: str, binding: Binding = UNBOUND) -> None:
        self.engine = engine
        self._session = session
        self.inputs = tuple(_slot(tensor) for tensor in session.get_inputs())
        self._names = [slot.name for slot in self.inputs]
        self._inputs = Inputs(self.inputs, binding)
        self._tensors = self._inputs.tensors()
        self.outputs = tuple(_slot(tensor) for tensor in session.get_outputs())
        self._outputs = OutputConverter(self.outputs, binding)

    def run(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]]:
        """Run one inference."""
        self._inputs.fill(prepared, self._tensors)
        tensors = dict(zip(self._names, self._tensors, strict=True))
        try:
            outputs = self._session.run(None, tensors)
        except Exception as error:
            msg = f"{self.engine} failed: {cause(error)}"
            raise EngineError(msg) from error
        for output in outputs:
            if not isinstance(output, np.ndarray) or output.dtype.kind not in "iufb":
                msg = "the variant's output is not an array of numbers"
                raise EngineError(msg)
        return self._outputs.convert(outputs)

    def close(self) -> None:
        """Release the engine."""
        self._session = None


def _slot(tensor: Any) -> Slot:
    if tensor.type not in DTYPES:
        msg = f"onnxruntime cannot load this variant: {tensor.name} is {tensor.type}, expected {', '.join(DTYPES)}"
        raise EngineError(msg)
    shape = tuple(size if isinstance(size, int) else 0 for size in tensor.shape)
    return Slot(tensor.name, shape, np.dtype(DTYPES[tensor.type]), None)


def load(data: bytes, threads: int, binding: Binding = UNBOUND, provider: str = CPU) -> Session:
    """Create a session for the bytes of an `.onnx` file.

    Waiting threads do not spin, because the rest of the loop needs the cores. If the requested provider cannot
    run the model, ONNX Runtime would continue on the CPU with only a warning. This function raises an error instead.

    Raises:
        EngineError: ONNX Runtime cannot be imported, rejects the model, lacks the provider, or does not use it.
    """
    try:
        import onnxruntime

        offered = onnxruntime.get_available_providers()
    except Exception as error:
        msg = f"onnxruntime cannot be imported: {first_line(error)}; run `orilla doctor` for details"
        raise EngineError(msg) from error
    if provider not in offered:
        msg = f"the installed onnxruntime {onnxruntime.__version__} has no {provider}, only {', '.join(offered)}"
        raise NotOfferedError(msg)
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider != CPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    chosen = [
        provider,
        *(() if provider == CPU else (CPU,)),
    ]  # The CPU runs the operators that the provider does not support.
    settings = [{**OPTIONS.get(name, {}), **_threads_of(name, threads)} for name in chosen]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=chosen, provider_options=settings)
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class.
        msg = f"onnxruntime {onnxruntime.__version__} cannot load this variant: {cause(error)}"
        raise EngineError(msg) from error
    # Prevent ONNX Runtime from repeating a failed inference on the CPU and printing a message.
    session.disable_fallback()
    if provider != CPU:
        _require(session, provider)
    if session.get_providers() != chosen:
        msg = f"onnxruntime fell back to {', '.join(session.get_providers())} from {provider}"
        raise EngineError(msg)
    engine = f"onnxruntime {onnxruntime.__version__}"
    if provider != CPU:
        engine += f" {provider.removesuffix('ExecutionProvider')}"
    return OnnxSession(session, engine, binding)


def _require(session: Any, provider: str) -> None:
    """Raise `EngineError` if the CPU would run all of the model's operators, and the provider none."""
    if not isinstance(session, _ReportsAssignment):  # ONNX Runtime before 1.24 lacks this method.
        return
    if provider not in {part.ep_name for part in session.get_provider_graph_assignment_info()}:
        msg = f"onnxruntime fell back to {CPU} from {provider}, which supports no operator of this variant"
        raise EngineError(msg)


def _threads_of(provider: str, threads: int) -> dict[str, str]:
    """Return the option for the number of threads of a provider with its own threads."""
    name = {"OpenVINOExecutionProvider": "num_of_threads", "XnnpackExecutionProvider": "intra_op_num_threads"}
    return {name[provider]: str(threads)} if provider in name else {}

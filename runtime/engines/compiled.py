"""Engine that runs `.tflite` files with `CompiledModel`, LiteRT's newer interface."""

from __future__ import annotations

import math
import platform
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.detect import features
from orilla.devices.errors import EngineError
from orilla.runtime.engines.litert import first_line, runtime, slots
from orilla.runtime.engines.session import UNBOUND, Binding, Inputs, OutputConverter, Session
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.stdio import hidden_stderr

PACKAGE = "ai_edge_litert"

NEEDED = "atomics"
"""Arm feature that the library needs. LiteRT 2.3.0 crashed on Cortex-A53 and A72 (Raspberry Pi 3 and 4), but worked on
A76 (Raspberry Pi 5)."""


class CompiledSession:
    """A session that runs a `CompiledModel` and holds the buffers of its inputs and outputs."""

    def __init__(self, model: Any, data: bytes, interpreter: Any, engine: str, binding: Binding = UNBOUND) -> None:
        self.engine = engine
        self._model, self._data = model, data  # The model reads its weights from these bytes while it runs.
        inputs, outputs = slots(interpreter)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._inputs, self._outputs = Inputs(inputs, binding), OutputConverter(outputs, binding)
        self._tensors = self._inputs.tensors()
        self._input_buffers, self._output_buffers = model.create_input_buffers(0), model.create_output_buffers(0)
        for tensor in self._tensors:
            tensor[:] = 0
        self._infer()  # The first call initialises the library, which prints messages.

    def run(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]]:
        """Run one inference."""
        self._inputs.fill(prepared, self._tensors)
        return self._infer()

    def _infer(self) -> dict[str, NDArray[np.float32]]:
        try:
            for buffer, tensor in zip(self._input_buffers, self._tensors, strict=True):
                buffer.write(tensor)
            self._model.run_by_index(0, self._input_buffers, self._output_buffers)
            arrays = [
                buffer.read(math.prod(slot.shape), slot.dtype).reshape(slot.shape)
                for buffer, slot in zip(self._output_buffers, self.outputs, strict=True)
            ]
        except (RuntimeError, ValueError) as error:
            msg = f"{self.engine} failed: {first_line(error)}"
            raise EngineError(msg) from error
        return self._outputs.convert(arrays)

    def close(self) -> None:
        """Release the engine."""
        with hidden_stderr():
            self._input_buffers = self._output_buffers = []
            self._model = None


def check_processor(architecture: str, features: Collection[str]) -> None:
    """Raise `EngineError` for a processor on which LiteRT's library would crash the process."""
    if architecture == "aarch64" and NEEDED not in features:
        msg = (
            f"{PACKAGE} cannot load this variant with CompiledModel: its library crashes with an illegal instruction "
            f"on Armv8.0 processors like this one, which lack {NEEDED}; use engine=litert"
        )
        raise EngineError(msg)


def load(data: bytes, threads: int, binding: Binding = UNBOUND) -> Session:
    """Compile the bytes of a `.tflite` file for the CPU.

    Raises:
        EngineError: LiteRT is not installed, is too old, or rejects the model. A model with several inputs or outputs
            is rejected here, because the library does not report their order.
    """
    package, interpreters = runtime(PACKAGE)
    check_processor(platform.machine(), features())
    try:
        from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options
    except ImportError as error:
        msg = f"{package} does not provide CompiledModel: {first_line(error)}; run pip install -U ai-edge-litert"
        raise EngineError(msg) from error
    with hidden_stderr():
        try:
            # `CompiledModel` does not report scales and zero points. An interpreter does, even before it allocates
            # memory.
            interpreter = interpreters.Interpreter(model_content=data)
            if any(len(side) != 1 for side in slots(interpreter)):
                msg = f"{package}: with CompiledModel, a variant can have only one input and one output"
                raise EngineError(msg)
            model = CompiledModel.from_buffer(data, options=Options(cpu_options=CpuOptions(num_threads=threads)))
            return CompiledSession(model, data, interpreter, f"{package} {_version()} compiled", binding)
        except (RuntimeError, ValueError) as error:
            # Keep only the reason, so that the unfinished model is released within the `with` block, which hides its
            # messages.
            reason = first_line(error)
    msg = f"{package} cannot load this variant with CompiledModel: {reason}; use engine=litert"
    raise EngineError(msg)


def _version() -> str:
    import ai_edge_litert

    return str(getattr(ai_edge_litert, "__version__", ""))

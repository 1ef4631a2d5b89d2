"""LiteRT, the runtime of `.tflite` files: `ai_edge_litert` first, then `tflite_runtime`, then TensorFlow's copy."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import EngineError
from orilla.runtime.native import hidden_stderr
from orilla.runtime.session import Input, Prepared, Quantisation, Session, dequantise

INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)
"""Package to the module that holds its `Interpreter`, in the order of preference."""


class LiteRTSession:
    """One interpreter."""

    def __init__(self, interpreter: Any, engine: str) -> None:
        self.engine = engine
        self._interpreter = interpreter
        (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
        self._input_index, self._output_index = given["index"], made["index"]
        self._input = Input(tuple(given["shape"]), np.dtype(given["dtype"]), _quantisation(given))
        self._output = _quantisation(made)

    def run(self, prepared: Prepared) -> NDArray[np.float32]:
        interpreter, tensor = self._interpreter, self._input(prepared)
        try:
            interpreter.set_tensor(self._input_index, tensor)
            interpreter.invoke()
            output = interpreter.get_tensor(self._output_index)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"{self.engine} failed: {str(error).strip().splitlines()[0]}") from error
        return dequantise(output, self._output)

    def close(self) -> None:
        self._interpreter = None


def load(data: bytes, threads: int) -> Session:
    """Builds an interpreter over the bytes of a `.tflite` file.

    Raises:
        EngineError: no LiteRT runtime is installed, or it refuses the model.
    """
    package, interpreter_class = _interpreter_class()
    try:
        with hidden_stderr():  # the runtime greets with a line for every interpreter
            interpreter = interpreter_class(model_content=data, num_threads=threads)
            interpreter.allocate_tensors()
        release = getattr(sys.modules[package], "__version__", "")
        return LiteRTSession(interpreter, f"{package} {release}".strip())
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(f"{package} cannot load this variant: {reason}") from error


def _interpreter_class() -> tuple[str, Any]:
    for package, module in INTERPRETERS:
        if find_spec(package) is not None:
            return package, import_module(module).Interpreter
    raise EngineError("no LiteRT runtime is installed: run pip install ai-edge-litert")


def _quantisation(details: dict[str, Any]) -> Quantisation | None:
    scale, zero_point = details["quantization"]
    return Quantisation(float(scale), int(zero_point)) if scale else None

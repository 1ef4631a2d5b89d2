"""LiteRT, the runtime of `.tflite` files: `ai_edge_litert` first, then `tflite_runtime`, then TensorFlow's copy."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, EngineError
from orilla.runtime.native import hidden_stderr
from orilla.runtime.session import Inputs, Prepared, Quantisation, Session, Slot, dequantise, joined

INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)
"""Package to the module that holds its `Interpreter`, in the order of preference."""


STATEFUL, LOOP, REVERSE = "UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE", "REVERSE_V2"
"""Operators: one that keeps its state between calls, one whose state ends with the call, and one that looks ahead."""


class LiteRTSession:
    """One interpreter."""

    def __init__(self, interpreter: Any, engine: str, data: bytes, threads: int) -> None:
        self.engine = engine
        self._interpreter = interpreter
        self._data, self._threads = data, threads
        given, made = _details(interpreter)
        self._input_indices = [details["index"] for _, details in given]
        self._output_indices = [details["index"] for _, details in made]
        self._inputs = Inputs([_slot(name, details) for name, details in given])
        self._outputs = [_slot(name, details) for name, details in made]
        self.span = _span(self._outputs)
        self._keeps_state = STATEFUL in _operators(interpreter)

    def run(self, prepared: Prepared) -> NDArray[np.float32]:
        if self._keeps_state:
            self._interpreter.reset_all_variables()  # else the last sample's state leaks into this one
        return self._step(prepared)

    def stream(self) -> Stream:
        """Opens the same network for one step of a sequence at a time; what it has seen so far is kept.

        Raises:
            EngineError: the network is not an LSTM in its fused form, or looks at what comes later.
        """
        operators = _operators(self._interpreter)
        if STATEFUL not in operators or LOOP in operators or REVERSE in operators:
            why = "it looks at later steps too" if REVERSE in operators else "it has no fused LSTM"
            raise EngineError(f"this variant can't be fed step by step: {why}; a variant named *_fused may")
        _, interpreter_class = _interpreter_class()
        with hidden_stderr():
            interpreter = interpreter_class(model_content=self._data, num_threads=self._threads)
            (details,) = interpreter.get_input_details()
            interpreter.resize_tensor_input(details["index"], [1, 1, *details["shape"][2:]])
            try:
                interpreter.allocate_tensors()
            except (RuntimeError, ValueError) as error:
                raise EngineError(f"this variant can't be fed step by step: {_first_line(error)}") from error
        return Stream(LiteRTSession(interpreter, self.engine, self._data, self._threads))

    def close(self) -> None:
        self._interpreter = None

    def _step(self, prepared: Prepared) -> NDArray[np.float32]:
        interpreter = self._interpreter
        try:
            self._fill(prepared)
            interpreter.invoke()
            made = [interpreter.get_tensor(index) for index in self._output_indices]
        except BundleError:
            raise
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"{self.engine} failed: {_first_line(error)}") from error
        return joined([dequantise(output, slot.quantisation) for output, slot in zip(made, self._outputs, strict=True)])

    def _fill(self, prepared: Prepared) -> None:
        """Writes into the interpreter's own memory; the views of it end here, as it must have none when it runs."""
        self._inputs.fill(prepared, [self._interpreter.tensor(index)() for index in self._input_indices])


class Stream:
    """A recurrent network given a sequence step by step; it answers after each as it would to the whole so far."""

    def __init__(self, session: LiteRTSession) -> None:
        self._session = session
        self.reset()

    def step(self, prepared: NDArray[np.generic]) -> NDArray[np.float32]:
        """The answer after one more step.

        Args:
            prepared: `[F]`, one step of the sequence; of tokens `[]` or `[1]`.
        """
        given = np.asarray(prepared)
        return self._session._step(given[None] if self._features or given.ndim == 0 else given)

    def reset(self) -> None:
        """Begins a new sequence."""
        self._session._interpreter.reset_all_variables()

    @property
    def _features(self) -> bool:
        """Whether a step is a vector."""
        return len(self._session._interpreter.get_input_details()[0]["shape"]) > 2


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
        return LiteRTSession(interpreter, f"{package} {release}".strip(), data, threads)
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"{package} cannot load this variant: {_first_line(error)}") from error


def _details(interpreter: Any) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
    """Inputs and outputs with their names; those of the signature where the names are needed to tell them apart."""
    given, made = interpreter.get_input_details(), interpreter.get_output_details()
    if len(given) == len(made) == 1 or not interpreter.get_signature_list():
        return [(one["name"], one) for one in given], [(one["name"], one) for one in made]
    runner = interpreter.get_signature_runner()
    return sorted(runner.get_input_details().items()), sorted(runner.get_output_details().items())


def _slot(name: str, details: dict[str, Any]) -> Slot:
    shape = tuple(int(side) for side in details["shape"])
    return Slot(name, shape, np.dtype(details["dtype"]), _quantisation(details))


def _span(outputs: list[Slot]) -> tuple[float, float] | None:
    quantisation = outputs[0].quantisation
    return quantisation.span(outputs[0].dtype) if quantisation is not None and len(outputs) == 1 else None


def _operators(interpreter: Any) -> set[str]:
    # The names are told by every runtime, and by no public method of any.
    return {one["op_name"] for one in interpreter._get_ops_details()}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _interpreter_class() -> tuple[str, Any]:
    for package, module in INTERPRETERS:
        if find_spec(package) is not None:
            return package, import_module(module).Interpreter
    raise EngineError("no LiteRT runtime is installed: run pip install ai-edge-litert")


def _quantisation(details: dict[str, Any]) -> Quantisation | None:
    scale, zero_point = details["quantization"]
    return Quantisation(float(scale), int(zero_point)) if scale else None

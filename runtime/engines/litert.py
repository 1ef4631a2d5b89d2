"""Engine with an interpreter of `.tflite` files: of `ai_edge_litert`, else of `tflite_runtime`, else of TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, EngineError
from orilla.runtime.engines.registry import is_package
from orilla.runtime.engines.session import Inputs, Quantization, Slot, dequantise, joined
from orilla.runtime.preprocessing.preprocessor import ModelInput
from orilla.runtime.stdio import hidden_stderr

INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)
"""Package to the module that contains its `Interpreter`, in the order of preference."""


FROZEN = "tflite_runtime"
"""Package whose last release, 2.14, is from 2023."""

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
        slots_in, self._outputs = slots(interpreter)
        self._inputs = Inputs(slots_in)
        self.span = span_of(self._outputs)
        self._keeps_state = STATEFUL in _operators(interpreter)

    def run(self, prepared: ModelInput) -> NDArray[np.float32]:
        if self._keeps_state:
            self._interpreter.reset_all_variables()  # otherwise the state of the last sample would leak into this one
        return self._step(prepared)

    def stream(self) -> Stream:
        """Open the same network for one step of a sequence at a time. It keeps its state between steps.

        Raises:
            EngineError: The network is not an LSTM in its fused form, or looks ahead.
        """
        operators = _operators(self._interpreter)
        if STATEFUL not in operators or LOOP in operators or REVERSE in operators:
            why = "it looks ahead" if REVERSE in operators else "it has no fused LSTM"
            msg = f"this variant cannot be fed step by step: {why}; use a variant named *_fused"
            raise EngineError(msg)
        _, module = runtime(self.engine.split()[0])
        with hidden_stderr():
            interpreter = module.Interpreter(model_content=self._data, num_threads=self._threads)
            (details,) = interpreter.get_input_details()
            interpreter.resize_tensor_input(details["index"], [1, 1, *details["shape"][2:]])
            try:
                interpreter.allocate_tensors()
            except (RuntimeError, ValueError) as error:
                msg = f"this variant cannot be fed step by step: {first_line(error)}"
                raise EngineError(msg) from error
        return Stream(LiteRTSession(interpreter, self.engine, self._data, self._threads))

    def close(self) -> None:
        self._interpreter = None

    def _step(self, prepared: ModelInput) -> NDArray[np.float32]:
        interpreter = self._interpreter
        try:
            self._fill(prepared)
            interpreter.invoke()
            made = [interpreter.get_tensor(index) for index in self._output_indices]
        except BundleError:
            raise
        except (RuntimeError, ValueError) as error:
            msg = f"{self.engine} failed: {first_line(error)}"
            raise EngineError(msg) from error
        return joined([dequantise(output, slot.quantisation) for output, slot in zip(made, self._outputs, strict=True)])

    def _fill(self, prepared: ModelInput) -> None:
        """Write into the interpreter's memory. No view of it may exist when it runs, so they end here."""
        self._inputs.fill(prepared, [self._interpreter.tensor(index)() for index in self._input_indices])


class Stream:
    """A recurrent network that receives a sequence step by step. Each answer covers the sequence so far."""

    def __init__(self, session: LiteRTSession) -> None:
        self._session = session
        self.reset()

    def step(self, prepared: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the answer after one more step.

        Args:
            prepared: One step of the sequence, `[F]`; for tokens `[]` or `[1]`.
        """
        given = np.asarray(prepared)
        return self._session._step(given[None] if self._features or given.ndim == 0 else given)  # noqa: SLF001 - there is no public equivalent

    def reset(self) -> None:
        """Start a new sequence."""
        self._session._interpreter.reset_all_variables()  # noqa: SLF001 - there is no public equivalent

    @property
    def _features(self) -> bool:
        """Return True if a step is a vector."""
        return len(self._session._interpreter.get_input_details()[0]["shape"]) > 2  # noqa: SLF001 - there is no public equivalent


def load(data: bytes, threads: int, package: str | None = None, delegates: Sequence[Any] = ()) -> LiteRTSession:
    """Create an interpreter for the bytes of a `.tflite` file.

    Args:
        data: Content of the file.
        threads: Threads for inference.
        package: One of `INTERPRETERS`. None uses the first one that is installed.
        delegates: Results of `load_delegate`.

    Raises:
        EngineError: No LiteRT runtime is installed, or it rejects the model.
    """
    package, module = runtime(package)
    if package == FROZEN and np.__version__.split(".")[0] != "1":
        msg = (
            f"{package} cannot load this variant: it needs numpy 1, this is {np.__version__}; run pip install "
            '"numpy<2" "opencv-python-headless<5"'
        )
        raise EngineError(msg)
    try:
        with hidden_stderr():  # the runtime prints a line for every interpreter
            interpreter = module.Interpreter(
                model_content=data, num_threads=threads, experimental_delegates=list(delegates) or None
            )
            interpreter.allocate_tensors()
        _refuse_wrong(package, interpreter)
        return LiteRTSession(interpreter, named(package), data, threads)
    except Exception as error:  # a wheel for another numpy version may raise anything
        msg = f"{package} cannot load this variant: {first_line(error)}"
        raise EngineError(msg) from error


def _refuse_wrong(package: str, interpreter: Any) -> None:
    """Reject models that a frozen runtime silently computes wrongly.

    Its dense kernel for float inputs and int8 weights uses one scale for all channels.
    """
    if package != FROZEN:
        return
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():  # noqa: SLF001 - there is no public equivalent
        if operator["op_name"] != "FULLY_CONNECTED":
            continue
        given, weights = (tensors[index] for index in operator["inputs"][:2])
        scales = weights["quantization_parameters"]["scales"]
        if given["dtype"] == np.float32 and weights["dtype"] == np.int8 and len(scales) > 1:
            msg = (
                "it computes dense layers with per-channel int8 weights wrongly; use a variant in int8, float16 "
                "or float32"
            )
            raise ValueError(msg)


def runtime(package: str | None = None) -> tuple[str, Any]:
    """Return the package that runs `.tflite` files, and its module with `Interpreter` and `load_delegate`.

    Raises:
        EngineError: The package is not installed or cannot be imported.
    """
    for name, module in INTERPRETERS:
        if package in (None, name) and is_package(name):
            try:
                return name, import_module(module)
            except Exception as error:
                msg = f"{name} cannot be imported: {first_line(error)}; orilla doctor gives details"
                raise EngineError(msg) from error
    msg = f"no {package or 'LiteRT runtime'} is installed: run pip install {package or 'ai-edge-litert'}"
    raise EngineError(msg)


def named(package: str) -> str:
    """Return a package with its version. The name distinguishes `litert` and `tflite_runtime`."""
    return f"{package} {getattr(sys.modules[package], '__version__', '')}".strip()


def slots(interpreter: Any) -> tuple[list[Slot], list[Slot]]:
    """Return the inputs and outputs of a model."""
    given, made = _details(interpreter)
    return [_slot(name, details) for name, details in given], [_slot(name, details) for name, details in made]


def span_of(outputs: Sequence[Slot]) -> tuple[float, float] | None:
    """Return minimum and maximum of the only output. None for float or several outputs."""
    quantisation = outputs[0].quantisation
    return quantisation.span(outputs[0].dtype) if quantisation is not None and len(outputs) == 1 else None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _details(interpreter: Any) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
    """Return inputs and outputs with their names, from the signature if the names must distinguish them."""
    given, made = interpreter.get_input_details(), interpreter.get_output_details()
    if len(given) == len(made) == 1 or not interpreter.get_signature_list():
        return [(one["name"], one) for one in given], [(one["name"], one) for one in made]
    runner = interpreter.get_signature_runner()
    return sorted(runner.get_input_details().items()), sorted(runner.get_output_details().items())


def _slot(name: str, details: dict[str, Any]) -> Slot:
    shape = tuple(int(side) for side in details["shape"])
    return Slot(name, shape, np.dtype(details["dtype"]), _quantisation(details))


def _operators(interpreter: Any) -> set[str]:
    # Every runtime knows the names, but none has a public method for them.
    return {one["op_name"] for one in interpreter._get_ops_details()}  # noqa: SLF001 - there is no public equivalent


def _quantisation(details: dict[str, Any]) -> Quantization | None:
    scale, zero_point = details["quantization"]
    return Quantization(float(scale), int(zero_point)) if scale else None

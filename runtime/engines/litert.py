"""Engine that runs `.tflite` files with the interpreter of `ai_edge_litert`, `tflite_runtime` or TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, EngineError
from orilla.runtime.engines.litert_limits import KEEPS_STATE, cause, needs_one_thread
from orilla.runtime.engines.registry import is_package
from orilla.runtime.engines.session import UNBOUND, Binding, Inputs, OutputConverter, Slot
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.preprocessing.quantization import Quantization
from orilla.runtime.stdio import hidden_stderr

INTERPRETERS = (
    ("ai_edge_litert", "ai_edge_litert.interpreter"),
    ("tflite_runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)
"""For each package, the module that contains `Interpreter`. The packages are listed in the order of preference."""

FROZEN = "tflite_runtime"
"""A package that is no longer updated. Its last release, 2.14, is from 2023."""

STATEFUL, LOOP, REVERSE = "UNIDIRECTIONAL_SEQUENCE_LSTM", "WHILE", "REVERSE_V2"
"""Operators of recurrent networks. The first operator keeps its state between calls, the second loops within a call,
and the third reverses a sequence."""


class LiteRTSession:
    """A session that runs a model with one interpreter."""

    def __init__(self, interpreter: Any, engine: str, data: bytes, threads: int, binding: Binding = UNBOUND) -> None:
        self.engine = engine
        self._interpreter = interpreter
        self._data, self._threads, self._binding = data, threads, binding
        input_details, output_details = tensor_details(interpreter)
        self._input_indices = [details["index"] for _, details in input_details]
        self._output_indices = [details["index"] for _, details in output_details]
        inputs, outputs = slots(interpreter)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._inputs, self._outputs = Inputs(inputs, binding), OutputConverter(outputs, binding)
        self._keeps_state = not _operators(interpreter).isdisjoint(KEEPS_STATE)

    def run(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]]:
        """Run one inference."""
        if self._keeps_state:
            self.reset()  # Clear the state of the previous sample, which would change the output.
        return self.run_step(prepared)

    def stream(self) -> StepSession:
        """Open the same network for sequences that arrive step by step. The network keeps its state between steps.

        Raises:
            EngineError: The network is not a fused LSTM, or reads the sequence backwards.
        """
        operators = _operators(self._interpreter)
        if STATEFUL not in operators or LOOP in operators or REVERSE in operators:
            reason = "it reads the sequence backwards" if REVERSE in operators else "it has no fused LSTM layer"
            msg = f"this variant cannot be fed step by step: {reason}; use a variant named *_fused"
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
        return StepSession(LiteRTSession(interpreter, self.engine, self._data, self._threads, self._binding))

    def close(self) -> None:
        """Release the engine."""
        self._interpreter = None

    @property
    def takes_vectors(self) -> bool:
        """Return True if a step of the sequence is a vector, False if it is a token."""
        return len(self.inputs[0].shape) > 2

    def reset(self) -> None:
        """Clear the state of the previous steps."""
        self._interpreter.reset_all_variables()

    def run_step(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]]:
        """Run one inference that starts with the state after the previous inference. See `run`."""
        interpreter = self._interpreter
        try:
            self._fill(prepared)
            interpreter.invoke()
            arrays = [interpreter.get_tensor(index) for index in self._output_indices]
        except BundleError:
            raise
        except (RuntimeError, ValueError) as error:
            msg = f"{self.engine} failed: {cause(error)}"
            raise EngineError(msg) from error
        return self._outputs.convert(arrays)

    def _fill(self, prepared: ModelInput) -> None:
        """Write a sample into the interpreter's memory.

        No view of this memory is kept, because none may exist during an inference.
        """
        self._inputs.fill(prepared, [self._interpreter.tensor(index)() for index in self._input_indices])


class StepSession:
    """A recurrent network that receives a sequence step by step. Each output refers to the sequence so far."""

    def __init__(self, session: LiteRTSession) -> None:
        self._session = session
        self.reset()

    def step(self, prepared: NDArray[np.generic]) -> dict[str, NDArray[np.float32]]:
        """Process one more step, and return the outputs for the sequence so far.

        Args:
            prepared: One step of the sequence: features `[F]`, or a token `[]` or `[1]`.
        """
        step = np.asarray(prepared)
        return self._session.run_step(step[None] if self._session.takes_vectors or step.ndim == 0 else step)

    def reset(self) -> None:
        """Start a new sequence."""
        self._session.reset()


def load(
    data: bytes,
    threads: int,
    binding: Binding = UNBOUND,
    package: str | None = None,
    delegates: Sequence[Any] = (),
) -> LiteRTSession:
    """Create an interpreter for the bytes of a `.tflite` file.

    Args:
        data: Content of the file.
        threads: Number of inference threads. If LiteRT computes a model correctly only with one thread, one thread is
            used, and the name of the session's engine shows this.
        binding: Names and pixel values of the bundle.
        package: A package of `INTERPRETERS`. If None, the first one that is installed is used.
        delegates: Delegates that `load_delegate` returned.

    Raises:
        EngineError: No LiteRT runtime is installed, or it rejects the model.
    """
    package, module = runtime(package)
    if package == FROZEN and np.__version__.split(".")[0] != "1":
        msg = (
            f"{package} cannot load this variant: it needs numpy 1, but numpy {np.__version__} is installed; run "
            'pip install "numpy<2" "opencv-python-headless<5"'
        )
        raise EngineError(msg)
    try:
        interpreter = new_interpreter(module, data, threads, delegates)
        name = named(package)
        if threads > 1 and needs_one_thread(data, _operators(interpreter)):
            threads, name = 1, f"{name} (1 thread)"
            interpreter = new_interpreter(module, data, threads, delegates)
        _reject_wrong(package, interpreter)
        return LiteRTSession(interpreter, name, data, threads, binding)
    except Exception as error:  # A wheel that was built for another NumPy version may raise any exception.
        msg = f"{package} cannot load this variant: {cause(error)}"
        raise EngineError(msg) from error


def new_interpreter(module: Any, data: bytes, threads: int, delegates: Sequence[Any] = ()) -> Any:
    """Return an interpreter with allocated tensors. Raise `RuntimeError` or `ValueError` if it rejects the file."""
    with hidden_stderr():  # The runtime prints a line whenever an interpreter is created.
        interpreter = module.Interpreter(
            model_content=data, num_threads=threads, experimental_delegates=list(delegates) or None
        )
        interpreter.allocate_tensors()
    return interpreter


def _reject_wrong(package: str, interpreter: Any) -> None:
    """Raise `ValueError` if `tflite_runtime` would silently compute wrong results for this model.

    Its kernel for dense layers with float inputs and int8 weights uses the same scale for all channels.
    """
    if package != FROZEN:
        return
    tensors = {details["index"]: details for details in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():  # noqa: SLF001 - there is no public equivalent
        if operator["op_name"] != "FULLY_CONNECTED":
            continue
        inputs, weights = (tensors[index] for index in operator["inputs"][:2])
        scales = weights["quantization_parameters"]["scales"]
        if inputs["dtype"] == np.float32 and weights["dtype"] == np.int8 and len(scales) > 1:
            msg = (
                "it computes wrong results for dense layers with per-channel int8 weights; use a variant in int8, "
                "float16 or float32"
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
                msg = f"{name} cannot be imported: {first_line(error)}; run `orilla doctor` for details"
                raise EngineError(msg) from error
    missing = f"{package} is not" if package else "no LiteRT runtime is"
    msg = f"{missing} installed: run pip install {package or 'ai-edge-litert'}"
    raise EngineError(msg)


def named(package: str) -> str:
    """Return the name and version of a package, as reports show them."""
    return f"{package} {getattr(sys.modules[package], '__version__', '')}".strip()


def slots(interpreter: Any) -> tuple[list[Slot], list[Slot]]:
    """Return the inputs and outputs of a model."""
    inputs, outputs = tensor_details(interpreter)
    return [_slot(name, details) for name, details in inputs], [_slot(name, details) for name, details in outputs]


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def tensor_details(interpreter: Any) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, dict[str, Any]]]]:
    """Return the inputs and outputs with their names.

    If there are several, the names come from the model's signature.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) == len(outputs) == 1 or not interpreter.get_signature_list():
        return [(details["name"], details) for details in inputs], [(details["name"], details) for details in outputs]
    runner = interpreter.get_signature_runner()
    return sorted(runner.get_input_details().items()), sorted(runner.get_output_details().items())


def _slot(name: str, details: dict[str, Any]) -> Slot:
    shape = tuple(int(size) for size in details["shape"])
    return Slot(name, shape, np.dtype(details["dtype"]), _quantisation(details))


def _operators(interpreter: Any) -> set[str]:
    # Every runtime has this private method, and no runtime has a public method for this.
    return {details["op_name"] for details in interpreter._get_ops_details()}  # noqa: SLF001


def _quantisation(details: dict[str, Any]) -> Quantization | None:
    scale, zero_point = details["quantization"]
    return Quantization(float(scale), int(zero_point)) if scale else None

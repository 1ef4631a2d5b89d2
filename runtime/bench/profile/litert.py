"""The time of each layer of a `.tflite` file, measured with LiteRT's own profiler."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orilla.devices.detect import features
from orilla.devices.errors import EngineError
from orilla.runtime.bench.profile.layer import Layer, Timing, kind_of
from orilla.runtime.bench.profile.litert_events import MARK, OPERATOR
from orilla.runtime.bench.profile.xnnpack import base_of, numbers_of, origins
from orilla.runtime.bench.work import work_of_operator
from orilla.runtime.engines.compiled import check_processor
from orilla.runtime.engines.litert import runtime, slots
from orilla.runtime.engines.session import Binding, Inputs
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.tflite.graph import Operator, Tensor, read_operators
from orilla.runtime.tflite.names import short_name

PACKAGE = "ai_edge_litert"
TIMEOUT_S = 120

METHOD = (
    "LiteRT's own profiler, which times each kernel of XNNPACK and each other operator inside CompiledModel, with one "
    "thread"
)

NUMBERS = {"INT8": "int8", "UINT8": "int8", "FLOAT32": "float32", "FLOAT16": "float16", "INT16": "int16"}
"""Data type in which an operator outside XNNPACK computes, by the type of its first input."""


def time_layers(data: bytes, binding: Binding, sample: ModelInput) -> Timing:
    """Run a `.tflite` file several times on a sample, and return the mean time of each layer.

    Raises:
        EngineError: LiteRT is not installed or too old, or its profiler cannot run the model.
    """
    _, module = runtime(PACKAGE)
    check_processor(platform.machine(), features())
    interpreter = module.Interpreter(model_content=data)
    inputs, _ = slots(interpreter)
    filled = Inputs(inputs, binding)
    tensors = filled.tensors()
    filled.fill(sample, tensors)
    names = (slot.name for slot in inputs)
    events, runs = _events(data, dict(zip(names, tensors, strict=True)))
    return Timing(tuple(_layers(events, read_operators(data, "the variant"))), runs, METHOD)


Event = tuple[str, int, int, float]
"""Tag, type, index and time in microseconds."""


def _events(data: bytes, tensors: dict[str, np.ndarray]) -> tuple[list[Event], int]:
    """Return the events of one inference, and the number of inferences. A separate process runs the model."""
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        model, inputs = Path(folder, "model.tflite"), Path(folder, "inputs.npz")
        model.write_bytes(data)
        np.savez(inputs, **tensors)  # type: ignore[arg-type]
        command = [sys.executable, "-P", "-m", "orilla.runtime.bench.profile.litert_events", str(model), str(inputs)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            msg = f"LiteRT's profiler did not finish within {TIMEOUT_S} s: profile an ONNX variant instead"
            raise EngineError(msg) from error
    for line in ended.stdout.splitlines():
        if line.startswith(MARK):
            found = json.loads(line.removeprefix(MARK))
            return [(str(tag), int(kind), int(index), float(us)) for tag, kind, index, us in found["events"]], found[
                "runs"
            ]
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    errors = [line.partition("] ")[2] or line for line in lines if line.startswith("ERROR")]
    reason = (errors or lines or [f"exit code {ended.returncode}"])[0 if errors else -1]
    msg = (
        f"LiteRT's profiler cannot run this variant: {reason}; profile an ONNX variant, or update the package with "
        "pip install -U ai-edge-litert"
    )
    raise EngineError(msg)


def _layers(events: Sequence[Event], operators: Sequence[Operator]) -> list[Layer]:
    outside = {index for _, kind, index, _ in events if kind == OPERATOR}
    delegated = [index for index in range(len(operators)) if index not in outside]
    kernels = [tag for tag, kind, _, _ in events if kind != OPERATOR]
    found = iter(origins(kernels, [operators[index].name for index in delegated]))
    layers = []
    for tag, kind, index, time_us in events:
        if kind == OPERATOR:
            layers.append(_outside(operators[index] if index < len(operators) else None, tag, time_us))
            continue
        place = next(found)
        layers.append(_kernel(None if place is None else operators[delegated[place]], tag, time_us))
    return layers


def _outside(operator: Operator | None, tag: str, time_us: float) -> Layer:
    """Return a layer that LiteRT runs without XNNPACK."""
    if operator is None:
        return Layer("", tag, tag, "LiteRT", "other", "", time_us / 1e3)
    first = next(iter(operator.activations), None)
    numbers = "" if first is None else NUMBERS.get(first.dtype, first.dtype.lower())
    return _with_work(operator, tag, "LiteRT", numbers, time_us)


def _kernel(operator: Operator | None, kernel: str, time_us: float) -> Layer:
    """Return a layer that XNNPACK runs."""
    base = base_of(kernel)
    if operator is None:
        return Layer("", "", kernel, "XNNPACK", kind_of(base, has_weights=False), numbers_of(kernel), time_us / 1e3)
    if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D") and kind_of(base, has_weights=False) == "copy":
        name = short_name(operator.outputs[0].name)
        return Layer(name, operator.name, kernel, "XNNPACK", "copy", "", time_us / 1e3)
    return _with_work(operator, kernel, "XNNPACK", numbers_of(kernel), time_us)


def _with_work(operator: Operator, kernel: str, place: str, numbers: str, time_us: float) -> Layer:
    kind, macs = work_of_operator(operator)
    weights = _weights(operator) if kind else None
    base = operator.name if place != "XNNPACK" else base_of(kernel)
    named = kind_of(operator.name, has_weights=bool(kind))
    return Layer(
        name=short_name(operator.outputs[0].name),
        operator=operator.name,
        kernel=kernel,
        place=place,
        kind=named if named != "other" else kind_of(base, has_weights=False),
        numbers=numbers,
        ms=time_us / 1e3,
        macs=round(macs),
        depthwise=kind == "depthwise",
        channels=None if weights is None else _channels(operator, weights),
    )


def _weights(operator: Operator) -> Tensor | None:
    return next((tensor for tensor in operator.inputs[1:] if tensor is not None and len(tensor.shape) > 1), None)


def _channels(operator: Operator, weights: Tensor) -> tuple[int, int]:
    """Return the number of input and output channels."""
    if operator.name == "DEPTHWISE_CONV_2D":
        return operator.activations[0].shape[-1], weights.shape[-1]
    return weights.shape[-1], weights.shape[0]

"""The time of each layer of an `.onnx` file, measured with ONNX Runtime's own profiler."""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orilla.devices.errors import EngineError
from orilla.runtime.bench.profile.layer import Layer, Timing, kind_of, middle_mean
from orilla.runtime.bench.profile.onnx_graph import Graph, Node, read_graph
from orilla.runtime.engines.onnx import CPU, OPTIONS, OnnxSession
from orilla.runtime.engines.onnx_errors import cause
from orilla.runtime.engines.session import Binding, Inputs
from orilla.runtime.preprocessing.input_kind import ModelInput

MIN_RUNS, MAX_RUNS, SECONDS = 20, 300, 1.0
"""Minimum and maximum number of inferences, and the time in seconds after which no further inference starts."""

WARM_UP = 5

METHOD = "ONNX Runtime's own profiler, with one thread, after all optimisations"

SUFFIX = "_kernel_time"

BLOCKED = "_nchwc"
"""Suffix of the names of convolutions that ONNX Runtime runs in its own blocked layout (NCHWc). The suffix follows the
name of the output tensor in the file."""

CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger", "NhwcConv")
PRODUCTS = [
    "MatMul",
    "Gemm",
    "FusedMatMul",
    "FusedGemm",
    "QGemm",
    "MatMulIntegerToFloat",
    "QLinearMatMul",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulNBits",
]

INTEGER = re.compile(r"QLinear|QGemm|Integer|DynamicQuantizeMatMul|DynamicQuantizeLSTM")
"""Operators that compute with integers."""


def time_layers(data: bytes, binding: Binding, sample: ModelInput, provider: str = CPU) -> Timing:
    """Run an `.onnx` file several times on a sample, and return the mean time of each layer.

    Raises:
        EngineError: ONNX Runtime is not installed, or cannot run the model.
    """
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        events, runs = _events(data, binding, sample, provider, Path(folder))
        optimised = Path(folder, "optimised.onnx")
        graph = read_graph(optimised.read_bytes()) if optimised.is_file() else Graph((), {})
    work = _Work(graph, read_graph(data))
    return Timing(tuple(_layer(event, work) for event in events), runs, METHOD)


def _events(
    data: bytes, binding: Binding, sample: ModelInput, provider: str, folder: Path
) -> tuple[list[dict[str, Any]], int]:
    """Return the events of one inference with their mean times, and the number of inferences."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    if provider == CPU:  # Other providers may be unable to store their part of the graph.
        options.optimized_model_filepath = str(folder / "optimised.onnx")
    providers = [provider, *(() if provider == CPU else (CPU,))]
    settings = [OPTIONS.get(name, {}) for name in providers]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers, provider_options=settings)
        slots = OnnxSession(session, "onnxruntime").inputs
        inputs = Inputs(slots, binding)
        tensors = inputs.tensors()
        inputs.fill(sample, tensors)
        feed = dict(zip((slot.name for slot in slots), tensors, strict=True))
        runs, ends = 0, time.perf_counter() + SECONDS
        while runs < WARM_UP + MIN_RUNS or (runs < MAX_RUNS and time.perf_counter() < ends):
            session.run(None, feed)
            runs += 1
        file = Path(session.end_profiling())
    except EngineError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class.
        msg = f"onnxruntime cannot profile this variant: {cause(error)}"
        raise EngineError(msg) from error
    every = list(_split(json.loads(file.read_text())))[WARM_UP:]
    first = [event["name"] for event in every[0]]
    same = [run for run in every if [event["name"] for event in run] == first]
    means = [middle_mean([run[place]["dur"] for run in same]) for place in range(len(first))]
    return [{**event, "dur": mean} for event, mean in zip(same[0], means, strict=True)], len(same)


def _split(events: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the events of the nodes of each inference. An event of the session ends each inference."""
    run: list[dict[str, Any]] = []
    for event in sorted(events, key=lambda event: event["ts"] + event["dur"]):
        if event.get("cat") == "Node" and event["name"].endswith(SUFFIX):
            run.append(event)
        elif event["name"] == "model_run":
            yield run
            run = []


class _Work:
    """The weights of the nodes.

    ONNX Runtime pads the channels of some convolutions with zeros, so the shapes of their weights come from the
    original file.

    Args:
        optimised: The graph that ONNX Runtime runs.
        original: The graph of the file.
    """

    def __init__(self, optimised: Graph, original: Graph) -> None:
        self._optimised, self._original = optimised, original
        self._nodes = {node.name: node for node in optimised.nodes}
        self._producers = {name: node for node in original.nodes for name in node.outputs}

    def weights(self, name: str) -> tuple[str, tuple[int, ...] | None, int]:
        """Return the name of the node in the file, the shape of its weights, and the number of padded output channels.

        Args:
            name: Name of the node that ONNX Runtime runs.
        """
        node = self._nodes.get(name)
        if node is None:
            return name, None, 0
        found = _shape(node, self._optimised)
        filled = 0 if found is None else found[0]
        if found is None or not name.endswith(BLOCKED):
            return name, found, filled
        waiting, seen = [name.removesuffix(BLOCKED)], set[str]()
        while waiting:
            tensor = waiting.pop(0)
            producer = self._producers.get(tensor)
            if producer is None or tensor in seen:
                continue
            seen.add(tensor)
            shape = _shape(producer, self._original) if producer.operator in CONVOLUTIONS else None
            if shape is not None:
                if shape[2:] == found[2:] and shape[0] <= filled:
                    return producer.name, shape, filled
                continue
            waiting += producer.inputs
        return name, found, filled


def _shape(node: Node, graph: Graph) -> tuple[int, ...] | None:
    """Return the shape of the weights of a node, or None if it has none."""
    return next((shape for text in node.inputs if len(shape := graph.constants.get(text, ())) > 1), None)


def _layer(event: dict[str, Any], work: _Work) -> Layer:
    found, name = event["args"], event["name"].removesuffix(SUFFIX)
    operator = found["op_name"]
    outputs, inputs = _shapes(found["output_type_shape"]), _shapes(found["input_type_shape"])
    weights, filled = None, 0
    if operator in (*CONVOLUTIONS, *PRODUCTS, "ConvTranspose"):
        name, weights, filled = work.weights(name)
    output = outputs[0][1] if outputs else ()
    if weights is not None and filled != weights[0]:
        output = (math.prod(output) // filled, weights[0])
    macs, channels, depthwise = _work(operator, weights, inputs, output)
    return Layer(
        name=re.sub(r"_token_\d+$", "", name),
        operator=operator,
        kernel=operator,
        place=found.get("provider", CPU).removesuffix("ExecutionProvider"),
        kind=kind_of(operator, has_weights=macs > 0),
        numbers="int8" if INTEGER.search(operator) else inputs[0][0] if inputs else "",
        ms=event["dur"] / 1e3,
        macs=macs,
        depthwise=depthwise,
        channels=channels,
    )


def _shapes(described: Sequence[dict[str, list[int]]]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the type and shape of each tensor, as in `[{"float": [1, 3]}]`."""
    names = {"float": "float32", "double": "float64"}
    return [(names.get(kind, kind), tuple(shape)) for entry in described for kind, shape in entry.items()]


def _work(
    operator: str,
    weights: tuple[int, ...] | None,
    inputs: Sequence[tuple[str, tuple[int, ...]]],
    output: tuple[int, ...],
) -> tuple[int, tuple[int, int] | None, bool]:
    """Return the number of multiply-accumulates, the channels, and whether the layer is a depthwise convolution."""
    size = math.prod(output)
    if operator in CONVOLUTIONS and weights is not None:
        source = inputs[0][1]
        depthwise = weights[1] == 1 < weights[0] and 1 not in (source[1:2] + source[-1:])
        channels = (weights[0] if depthwise else weights[1], weights[0])
        return size * math.prod(weights[1:]), channels, depthwise
    if operator == "ConvTranspose" and weights is not None:
        return math.prod(inputs[0][1]) * math.prod(weights[1:]), (weights[0], weights[1]), False
    if operator in PRODUCTS and output:
        if weights is None:
            inner = inputs[0][1][-1] if inputs and inputs[0][1] else 0
            return size * inner, None, False
        inner = math.prod(weights) // max(1, output[-1])
        return size * inner, (inner, output[-1]), False
    return 0, None, False

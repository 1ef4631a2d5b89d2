"""Check that ONNX Runtime can run a model, and that the model is deterministic."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from orilla.export.imports.trial import LIMIT_S, differing, sample
from orilla.runtime.engines.onnx import DTYPES
from orilla.runtime.engines.onnx_errors import cause

MIN_OPSET = 7
"""Oldest version of the operator set that ONNX Runtime supports."""

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Domains whose operators ONNX Runtime contains."""

RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli")
"""Operators that draw random numbers."""

DATA_DEPENDENT = ("NonMaxSuppression", "NonZero", "Unique", "Compress")
"""Operators whose output size depends on the values of their inputs."""

MAX_NAMED = 4
"""Maximum number of operators or files listed in a message."""


def nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph, including those of the subgraphs of its control-flow operators."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def check_external_data(path: Path, loaded: Any) -> None:
    """Raise `ValueError` if external data is missing or too short, or lies outside the folder of the model."""
    missing: dict[str, None] = {}
    for location, end in _external(loaded):
        file = (path.parent / location).resolve()
        if path.parent.resolve() not in file.parents:
            msg = f"{path.name} refers to external data outside its folder: {location!r}; copy it into the folder"
            raise ValueError(msg)
        if not file.is_file():
            missing[location] = None
        elif file.stat().st_size < end:
            size = file.stat().st_size
            msg = (
                f"the external data {location!r} of {path.name} is truncated ({size} of at least {end} bytes): "
                "download it again"
            )
            raise ValueError(msg)
    if missing:
        files = ", ".join(map(repr, list(missing)[:MAX_NAMED])) + (" and others" if len(missing) > MAX_NAMED else "")
        msg = (
            f"{path.name} keeps its weights in {files}, but the external data is missing: copy it into the same folder"
        )
        raise ValueError(msg)


def _external(loaded: Any) -> Iterator[tuple[str, int]]:
    """Yield, for each tensor with external data, its file and the offset of the first byte after it."""
    constants = (attribute.t for node in nodes(loaded.graph) for attribute in node.attribute)
    for tensor in (*loaded.graph.initializer, *constants):
        if tensor.data_location == tensor.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            yield entries.get("location", ""), int(entries.get("offset", 0)) + int(entries.get("length", 0))


def check_operators(loaded: Any, name: str) -> None:
    """Raise `ValueError` for an old operator set, custom operators, or operators that draw random numbers."""
    versions = {entry.domain or "ai.onnx": entry.version for entry in loaded.opset_import}
    if (version := versions.get("ai.onnx", MIN_OPSET)) < MIN_OPSET:
        msg = (
            f"{name} uses version {version} of the operator set: convert it with "
            f"onnx.version_converter.convert_version(model, 13), because {MIN_OPSET} is the oldest supported version"
        )
        raise ValueError(msg)
    known = {*DOMAINS, *(function.domain for function in loaded.functions)}
    found = list(nodes(loaded.graph))
    custom = sorted({f"{node.domain}:{node.op_type}" for node in found if node.domain not in known})
    if custom:
        msg = (
            f"{name} has custom operators, which no engine supports: {', '.join(custom)}; export it without them, and "
            "compute them outside the model"
        )
        raise ValueError(msg)
    random = [node for node in found if node.op_type in RANDOM or _is_training(node, loaded.graph)]
    if random:
        named = ", ".join(f"{node.op_type} {node.name or node.output[0]}" for node in random[:MAX_NAMED])
        msg = f"{name} gives random outputs ({named}): export it in evaluation mode, as with net.eval() in PyTorch"
        raise ValueError(msg)


def _is_training(node: Any, graph: Any) -> bool:
    """Return True if a node is a dropout in training mode: its third input is the constant True."""
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    values = {tensor.name: tensor for tensor in graph.initializer}
    values |= {
        other.output[0]: other.attribute[0].t for other in graph.node if other.op_type == "Constant" and other.attribute
    }
    tensor = values.get(node.input[2])
    return tensor is not None and bool(tensor.raw_data != b"\0" if tensor.raw_data else any(tensor.int32_data))


def trial(loaded: Any, name: str) -> dict[str, np.ndarray]:
    """Run a model twice on the same input, and return its outputs.

    Raises:
        ValueError: ONNX Runtime cannot run the model, or the outputs of the two runs differ.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # Print only fatal errors.
    signal.alarm(LIMIT_S)  # If a signal ends this process, `fork_server.call` reports it.
    try:
        session = onnxruntime.InferenceSession(loaded.SerializeToString(), options, providers=["CPUExecutionProvider"])
        _check_types([*session.get_inputs(), *session.get_outputs()], name)
        inputs = {tensor.name: sample(tuple(tensor.shape), DTYPES[tensor.type]) for tensor in session.get_inputs()}
        names = [tensor.name for tensor in session.get_outputs()]
        first, second = (session.run(None, inputs) for _ in range(2))
    except ValueError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class.
        msg = f"onnxruntime {onnxruntime.__version__} cannot run {name}: {cause(error)}"
        raise ValueError(msg) from error
    signal.alarm(0)
    if (output := differing(first, second)) is not None:
        msg = (
            f"{name} gives random outputs: its output {names[output]} differs between two inferences on the same input"
        )
        raise ValueError(msg)
    return dict(zip(names, first, strict=True))


def _check_types(tensors: list[Any], name: str) -> None:
    """Raise `ValueError` if the type of an input or output is not supported."""
    for tensor in tensors:
        if tensor.type not in DTYPES:
            known = ", ".join(sorted({np.dtype(kind).name for kind in DTYPES.values()}))
            msg = (
                f"{tensor.name} of {name} has the type {tensor.type.removeprefix('tensor(').removesuffix(')')}: Orilla "
                f"supports {known}; convert it inside the model, as with Cast"
            )
            raise ValueError(msg)


def changing(graph: Any, output: str) -> str | None:
    """Return the operator that makes an output's size depend on input values, or None if there is none."""
    producers = {name: node for node in graph.node for name in node.output}
    waiting, seen = [output], set()
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.op_type in DATA_DEPENDENT:
            return f"{node.op_type} {node.name or node.output[0]}"
        waiting.extend(node.input)
    return None

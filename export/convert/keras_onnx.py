"""Convert Keras models to float ONNX files. The same model always gives the same file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET = 17
"""Version of the ONNX operator set.

It is old enough for the ONNX Runtime builds of small boards, and new enough for per-channel QDQ (version 13 or later).
"""

LARGE = 1 << 19
"""Minimum number of elements in a large weight.

Large weights bypass tf2onnx, because it copies every constant about thirty times.
"""

MOVES = {"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that change only the type, shape or axis order of a weight."""


def convert(model: str, out: str) -> None:
    """Convert the Keras file `model` to the float32 file `out`, whose inputs and outputs hold one sample."""
    import onnx
    import tf2onnx

    from orilla.export.convert.frozen import freeze, load
    from orilla.export.convert.lower_recurrent import for_onnx

    network, handlers = for_onnx(load(model))
    large = {
        f"orilla_weight_{number}": variable
        for number, variable in enumerate(network.variables)
        if math.prod(variable.shape) >= LARGE
    }
    call = freeze(network, large).call
    converted, _ = tf2onnx.convert.from_function(
        call, input_signature=call.input_signature, opset=OPSET, custom_op_handlers={"Erfc": (_erfc, []), **handlers}
    )
    # Some layers, such as Normalization, keep tensors in addition to their weights. These tensors also become inputs.
    captures = call.get_concrete_function().graph.captures
    weights = {
        placeholder.name: variable.numpy() for variable, placeholder in captures if variable.dtype.name != "resource"
    }
    _fill(converted.graph, weights | {name: np.asarray(variable) for name, variable in large.items()})
    onnx.save(canonical(converted), out)


def _erfc(graph: Any, node: Any, _name: str, _arguments: Any) -> None:
    """Express erfc as 1 - erf(x), because ONNX has only erf. The exact GELU of Keras uses erfc."""
    (x,) = node.input
    erf = graph.make_node("Erf", [x]).output[0]
    one = graph.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0]
    graph.replace_all_inputs(node.output[0], graph.make_node("Sub", [one, erf]).output[0])
    graph.remove_node(node.name)


def _fill(graph: Any, weights: Mapping[str, NDArray[Any]]) -> None:
    """Replace the inputs that are weights with constants, and apply the operators of `MOVES` to these constants."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer} | dict(weights)
    filled, nodes = dict(weights), []
    for node in graph.node:
        movable = node.op_type in MOVES and node.input[0] in filled and all(name in constants for name in node.input)
        if not movable:
            nodes.append(node)
            continue
        (array,) = ReferenceEvaluator(node).run(None, {name: constants[name] for name in node.input})
        filled[node.output[0]] = constants[node.output[0]] = np.ascontiguousarray(array)
    used = {*_read(nodes), *(one.name for one in graph.output)}
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in filled.items() if name in used)
    _keep(graph.node, nodes)
    _keep(graph.input, [one for one in graph.input if one.name not in weights])


def _read(nodes: Any) -> Iterator[str]:
    """Yield the names of the tensors that nodes read, including the nodes inside loops and branches."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _read(body.node)
                yield from (output.name for output in body.output)


def _keep(field: Any, messages: list[Any]) -> None:
    """Replace the content of a repeated Protobuf field with copies of `messages`."""
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]
    del field[:]
    field.extend(copies)


def canonical(model: Any) -> Any:
    """Sort and rename the nodes and weights of a model, so that repeated conversions give the same file.

    tf2onnx iterates over sets of objects, so two conversions of one model differ in the names and the order of nodes.
    The order that this function sets follows from the graph alone. A graph with control flow stays unchanged, because
    the bodies of its operators refer to names outside the body.
    """
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return model
    nodes = _by_use(graph)
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names[""] = ""
    for index, node in enumerate(nodes):
        node.name = f"{node.op_type}_{index}"
        for index_in_node, name in enumerate(node.input):
            node.input[index_in_node] = names.setdefault(name, f"weight_{len(names)}")
        for index_in_node, name in enumerate(node.output):
            node.output[index_in_node] = names.setdefault(name, f"{node.name}_out{index_in_node}")
    weights = {weight.name: weight for weight in graph.initializer if weight.name in names}
    for name, weight in weights.items():
        weight.name = names[name]
    kept = sorted(weights.values(), key=lambda weight: int(weight.name.rpartition("_")[2]))
    for field, ordered in ((graph.node, nodes), (graph.initializer, kept), (graph.value_info, [])):
        _keep(field, ordered)
    return model


def _by_use(graph: Any) -> list[Any]:
    """Return the nodes on which the outputs depend. Each node comes after the nodes that compute its inputs."""
    producers = {name: node for node in graph.node for name in node.output}
    ordered: list[Any] = []
    done: set[str] = set()
    waiting = [(output.name, False) for output in reversed(graph.output)]
    while waiting:
        name, ready = waiting.pop()
        node = producers.get(name)
        if node is None or node.output[0] in done:
            continue
        if ready:
            done.add(node.output[0])
            ordered.append(node)
        else:
            waiting.append((name, True))
            waiting.extend((needed, False) for needed in reversed(node.input))
    return ordered

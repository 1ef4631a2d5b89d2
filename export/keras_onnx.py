"""Keras to a float ONNX file, the same bytes for the same model."""

from __future__ import annotations

from typing import Any

OPSET = 17
"""Old enough for the ONNX Runtime builds of small boards, new enough for per-channel QDQ (13)."""


def convert(model: str, out: str) -> None:
    """Writes `out` (`.onnx`, float32, input `[1,H,W,C]`) from the Keras file `model`."""
    import onnx
    import tf2onnx

    from orilla.export.frozen import freeze, load
    from orilla.export.lower_recurrent import for_onnx

    network, handlers = for_onnx(load(model))
    module = freeze(network)
    converted, _ = tf2onnx.convert.from_function(
        module.call, input_signature=module.call.input_signature, opset=OPSET, custom_op_handlers=handlers
    )
    onnx.save(canonical(converted), out)


def canonical(model: Any) -> Any:
    """Orders nodes and weights by their use, from the outputs back, and names them by that order.

    tf2onnx numbers them as it meets them in sets of objects, so that two conversions of a model differ in names and
    order, and so do the quantised files made of them. A graph with control flow is left as it is: its bodies refer to
    names outside.
    """
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return model
    nodes = _by_use(graph)
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names[""] = ""
    for index, node in enumerate(nodes):
        node.name = f"{node.op_type}_{index}"
        for place, name in enumerate(node.input):
            node.input[place] = names.setdefault(name, f"weight_{len(names)}")
        for place, name in enumerate(node.output):
            node.output[place] = names.setdefault(name, f"{node.name}_out{place}")
    weights = {weight.name: weight for weight in graph.initializer if weight.name in names}
    for name, weight in weights.items():
        weight.name = names[name]
    kept = sorted(weights.values(), key=lambda weight: int(weight.name.rpartition("_")[2]))
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    tensors = [type(weight).FromString(weight.SerializeToString()) for weight in kept]
    for field, ordered in ((graph.node, copies), (graph.initializer, tensors), (graph.value_info, [])):
        del field[:]
        field.extend(ordered)
    return model


def _by_use(graph: Any) -> list[Any]:
    """The nodes that the outputs need, each after those that it needs."""
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

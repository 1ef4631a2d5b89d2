"""Parse the configuration of a model into layers and their calls, in the same form for all versions of Keras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

MODELS = ("Sequential", "Model", "Functional")
"""Classes of models. Their configuration lists layers."""

MAX_DEPTH = 40
"""Maximum depth of models nested inside one another."""

UNNAMED = "unnamed_sequential"
"""Name of a model whose name is not in the file."""

CONSTANT = "_CONSTANT_VALUE"
"""Name that replaces the layer's name if an input is a constant."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One output tensor of one call of a layer."""

    layer: str
    call: int
    tensor: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant that is passed to a layer instead of a tensor."""

    value: Any


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer."""

    inputs: Any
    """References and constants, in the structure (lists and dictionaries) that the layer takes."""
    arguments: dict[str, Any]
    """Further arguments by name. They may also contain references."""


@dataclass(slots=True)
class LayerConfig:
    """One layer as the file describes it."""

    class_name: str
    name: str
    config: dict[str, Any]
    calls: list[Call] = field(default_factory=list)
    model: ModelConfig | None = None
    """Parsed configuration, if the layer is a model. Otherwise None."""
    registered: bool = False
    """True if the file states that the class comes from another package or from the author, not from Keras."""

    @property
    def trainable(self) -> bool:
        """Return False if the layer was frozen. Freezing changes the order of a model's weights."""
        return self.config.get("trainable") is not False

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """Return the shape of the input with the batch axis, or None if the layer does not state it."""
        shape = self.config.get("batch_input_shape") or self.config.get("batch_shape")
        if shape is None and self.class_name == "Embedding" and "input_length" in self.config:
            shape = [None, self.config["input_length"]]
        if shape is None and self.config.get("input_dim") and self.class_name in ("Dense", "Highway", "MaxoutDense"):
            shape = [None, self.config["input_dim"]]
        return shape_of(shape)


@dataclass(slots=True)
class ModelConfig:
    """A graph of layers."""

    name: str
    class_name: str
    layers: list[LayerConfig]
    inputs: list[Reference]
    outputs: Any
    """References to the outputs, in the structure that the model returns."""
    input_shape: tuple[int | None, ...] | None = None
    """Input shape of a `Sequential`, with the batch axis. None if the file does not state it."""

    def walk(self) -> Iterator[LayerConfig]:
        """Yield the layers, including those of nested models."""
        for layer in self.layers:
            yield layer
            if layer.model is not None:
                yield from layer.model.walk()


def shape_of(value: Any) -> tuple[int | None, ...] | None:
    """Return a value as a shape, or None if it is not a shape."""
    if not isinstance(value, list | tuple) or not value:
        return None
    if not all(size is None or (isinstance(size, int) and size >= 0) for size in value):
        return None
    return tuple(value)


def parse(entry: Any, depth: int = 0) -> ModelConfig:
    """Parse the class name and the configuration of a model.

    Raises:
        ValueError: The configuration is not that of a model.
    """
    if depth > MAX_DEPTH:
        msg = f"models are nested more than {MAX_DEPTH} deep"
        raise ValueError(msg)
    if not isinstance(entry, dict) or entry.get("class_name") not in MODELS:
        name = entry.get("class_name") if isinstance(entry, dict) else type(entry).__name__
        msg = (
            f"the model has the class {name}, whose Python code is not in the file: save a Sequential or functional "
            "model, or a SavedModel (model.save with a folder, in the Keras that wrote the file)"
        )
        raise ValueError(msg)
    config = entry.get("config")
    if entry["class_name"] == "Sequential":
        return _sequential(entry, config, depth)
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        msg = f"the model {entry.get('name', '')} has no list of layers"
        raise ValueError(msg)
    return _functional(config, depth)


def _sequential(entry: dict[str, Any], config: Any, depth: int) -> ModelConfig:
    rows = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
    if not isinstance(rows, list) or not rows:
        msg = "a Sequential in the file has no layers"
        raise ValueError(msg)
    outer = config if isinstance(config, dict) else {}
    # Until Keras 2.2.2, the configuration was a list of layers, without the name of the model.
    name = str(outer.get("name") or entry.get("name") or UNNAMED)
    if isinstance(rows[0], dict) and rows[0].get("class_name") == "Merge":
        return _merged(name, rows, depth)
    layers = _numbered([_layer(row, depth) for row in rows])
    start = layers[0].input_shape or (layers[0].model.input_shape if layers[0].model is not None else None)
    if layers[0].class_name != "InputLayer":
        shape = start or shape_of(outer.get("build_input_shape")) or _built(entry)
        given = {"batch_input_shape": shape, "dtype": _input_dtype(layers[0])}
        layers.insert(0, LayerConfig("InputLayer", f"{layers[0].name}_input", given))
        start = shape
    first = Reference(layers[0].name, 0, 0)
    return ModelConfig(name, "Sequential", layers, [first], _chained(first, layers[1:]), start)


def _chained(before: Reference, layers: list[LayerConfig]) -> Reference:
    """Connect layers in sequence, and return the last output."""
    for layer in layers:
        layer.calls = [Call(before, {})]
        before = Reference(layer.name, 0, 0)
    return before


def _merged(name: str, rows: list[Any], depth: int) -> ModelConfig:
    """Parse a `Sequential` of Keras 1 that begins with a `Merge` of other models."""
    settings = rows[0].get("config")
    branches = settings.get("layers") if isinstance(settings, dict) else None
    if not isinstance(branches, list) or not branches:
        msg = "a Merge at the beginning of a Sequential has no models"
        raise ValueError(msg)
    models = _numbered([_layer(row, depth) for row in branches])
    starts: list[LayerConfig] = []
    for layer in models:
        if layer.model is None:
            msg = f"a Merge at the beginning of a Sequential contains a {layer.class_name}, which is not a model"
            raise ValueError(msg)
        own = [start for given in layer.model.inputs for start in layer.model.layers if start.name == given.layer]
        own = [replace(start, calls=[]) for start in own]
        layer.calls = [Call([Reference(start.name, 0, 0) for start in own], {})]
        starts += own
    merge, *others = [_layer(row, depth) for row in rows]
    merge.calls = [Call([Reference(layer.name, 0, 0) for layer in models], {})]
    output = _chained(Reference(merge.name, 0, 0), others)
    inputs = [Reference(start.name, 0, 0) for start in starts]
    return ModelConfig(name, "Sequential", [*starts, *models, merge, *others], inputs, output)


def _numbered(layers: list[LayerConfig]) -> list[LayerConfig]:
    """Give each model without a name a unique name."""
    for number, layer in enumerate(layers):
        if layer.name == UNNAMED:
            layer.name = f"{UNNAMED}_{number}"
            if layer.model is not None:
                layer.model.name = layer.name
    return layers


def _built(entry: dict[str, Any]) -> tuple[int | None, ...] | None:
    build = entry.get("build_config")
    return shape_of(build.get("input_shape")) if isinstance(build, dict) else None


def _input_dtype(layer: LayerConfig) -> Any:
    """Return the input type of a `Sequential` without an `InputLayer`."""
    return layer.config.get("input_dtype") or layer.config.get("dtype") or "float32"


def _functional(config: dict[str, Any], depth: int) -> ModelConfig:
    layers = []
    for row in config["layers"]:
        layer = _layer(row, depth)
        layer.calls = [_call(node) for node in row.get("inbound_nodes") or []]
        layers.append(layer)
    model = ModelConfig(
        str(config.get("name") or "model"),
        "Functional",
        layers,
        [reference for reference in flat(_structure(config.get("input_layers"))) if isinstance(reference, Reference)],
        _unnested(_structure(config.get("output_layers"))),
    )
    _check_names(model)
    _count_from_zero(model)
    if len(model.inputs) == 1:
        (layer,) = (layer for layer in layers if layer.name == model.inputs[0].layer)
        model.input_shape = layer.input_shape
    return model


def layer_of(row: Any) -> LayerConfig:
    """Return the layer that a wrapper contains."""
    return _layer(row, 0)


def _layer(row: Any, depth: int) -> LayerConfig:
    if not isinstance(row, dict) or not isinstance(row.get("class_name"), str):
        msg = "the list of layers contains an entry that is not a layer"
        raise ValueError(msg)
    config, class_name = row.get("config"), row["class_name"]
    model = parse(row, depth + 1) if class_name in MODELS else None
    if not isinstance(config, dict):
        if model is None:
            msg = f"a layer of the class {class_name} has no configuration"
            raise ValueError(msg)
        config = {}
    name = str(row.get("name") or config.get("name") or (model.name if model is not None else class_name.lower()))
    module = row.get("module")
    registered = ">" in class_name or (isinstance(module, str) and not module.startswith(("keras", "tensorflow")))
    return LayerConfig(class_name, name, config, model=model, registered=registered)


def _call(node: Any) -> Call:
    structure = _structure(node)
    arguments: dict[str, Any] = {}
    for row in _rows(node):
        if len(row) > 3 and isinstance(row[3], dict):
            arguments |= {name: _argument(value) for name, value in row[3].items()}
    return Call(structure, arguments)


def _is_row(value: Any) -> bool:
    """Return True for a reference `[layer, call, tensor]`, with or without a dictionary of arguments at the end."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and (isinstance(value[2], int) or value[0] == CONSTANT)
    )


def _rows(node: Any) -> Iterator[list[Any]]:
    if _is_row(node):
        yield node
    elif isinstance(node, list | dict):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _rows(value)


def _structure(node: Any) -> Any:
    """Replace each `[layer, call, tensor]` in a structure with a reference or a constant."""
    if _is_row(node):
        return Constant(node[2]) if node[0] == CONSTANT else Reference(node[0], node[1], node[2])
    if isinstance(node, dict):
        return {key: _structure(node[key]) for key in sorted(node)}
    if isinstance(node, list):
        return [_structure(value) for value in node]
    msg = "a connection between layers has an unknown format"
    raise ValueError(msg)


def _argument(value: Any) -> Any:
    """Convert the references inside an argument. Other values stay unchanged."""
    if _is_row(value):
        return _structure(value)
    if isinstance(value, dict):
        return {key: _argument(inner) for key, inner in value.items()}
    return [_argument(inner) for inner in value] if isinstance(value, list) else value


def _unnested(structure: Any) -> Any:
    return structure[0] if isinstance(structure, list) and len(structure) == 1 else structure


def flat(structure: Any) -> Iterator[Any]:
    """Yield the references and constants in a structure of lists and dictionaries. Dictionaries are in key order."""
    if isinstance(structure, dict):
        for key in sorted(structure):
            yield from flat(structure[key])
    elif isinstance(structure, list):
        for value in structure:
            yield from flat(value)
    else:
        yield structure


def replaced(structure: Any, values: Any) -> Any:
    """Return a copy of the structure in which the result of `values` replaces each reference and constant."""
    if isinstance(structure, dict):
        return {key: replaced(value, values) for key, value in structure.items()}
    if isinstance(structure, list):
        return [replaced(value, values) for value in structure]
    return values(structure)


def references(call: Call) -> Iterator[Reference]:
    """Yield the references in the inputs and in the arguments of a call."""
    for value in (*flat(call.inputs), *flat(call.arguments)):
        if isinstance(value, Reference):
            yield value


def _check_names(model: ModelConfig) -> None:
    counts = Counter(layer.name for layer in model.layers)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        msg = f"two layers have the name {twice[0]}"
        raise ValueError(msg)
    used = [*model.inputs, *flat(model.outputs)]
    used += [reference for layer in model.layers for call in layer.calls for reference in references(call)]
    for reference in used:
        if not isinstance(reference, Reference) or reference.layer not in counts:
            msg = f"the graph refers to {getattr(reference, 'layer', 'a constant')}, which is not one of its layers"
            raise ValueError(msg)
    if not model.inputs or not used:
        msg = f"the model {model.name} has no inputs"
        raise ValueError(msg)


def _count_from_zero(model: ModelConfig) -> None:
    """Renumber the calls of each layer, starting at 0.

    Keras numbers the calls of a nested model from 1, because call 0 is the one that built it.
    """
    used = [*model.inputs, *flat(model.outputs)]
    used += [reference for layer in model.layers for call in layer.calls for reference in references(call)]
    highest: dict[str, int] = {}
    for reference in used:
        highest[reference.layer] = max(highest.get(reference.layer, 0), reference.call)
    shifted = {layer.name for layer in model.layers if layer.calls and highest.get(layer.name, 0) >= len(layer.calls)}

    def shift(value: Any) -> Any:
        if isinstance(value, Reference) and value.layer in shifted:
            return Reference(value.layer, value.call - 1, value.tensor)
        return value

    for layer in model.layers:
        layer.calls = [Call(replaced(call.inputs, shift), replaced(call.arguments, shift)) for call in layer.calls]
    model.inputs = [shift(reference) for reference in model.inputs]
    model.outputs = replaced(model.outputs, shift)

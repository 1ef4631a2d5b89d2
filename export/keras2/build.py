"""Build the Keras 3 model that computes the same as a model of Keras 1 or 2."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any

import keras

from orilla.export.keras2.config import Call, Constant, LayerConfig, ModelConfig, Reference, flat, references, replaced
from orilla.export.keras2.keras1 import arrays_of, modern
from orilla.export.keras2.layers.table import translate
from orilla.export.keras2.layers.translator import layer_name, plain_name
from orilla.export.keras2.origin import Origin, UnreadableLayersError, UntranslatableError
from orilla.export.keras2.part import Part, channels_first, channels_last, flat_tensors

FLOATS = ("float16", "bfloat16", "float32", "float64", "half", "double")
INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")

SMALL = 1 << 20
"""A weight with at most this many elements is created even if the file contains fewer."""


class Builder:
    """Translates one file: first each layer, then the graph, by calling the layers in order."""

    def __init__(self, origin: Origin, config: ModelConfig, largest: int) -> None:
        self.origin = origin
        self.config = config
        self.channels_first = any(
            layer.config.get(key) in ("channels_first", "th")
            for layer in config.walk()
            for key in ("data_format", "dim_ordering")
        )
        self.notes: dict[str, list[str]] = defaultdict(list)
        """Names of the layers to which each note applies, by the text of the note."""
        self._largest = max(largest, SMALL)
        self._parts: dict[int, Part] = {}

    def build(self) -> tuple[Any, list[Part]]:
        """Return the model and its layers.

        Raises:
            UnreadableLayersError: Layers cannot be read. The message lists them all.
            ValueError: The graph is damaged.
        """
        problems: dict[str, list[str]] = defaultdict(list)
        for layer in self.config.walk():
            if layer.class_name == "InputLayer" or layer.model is not None:
                continue
            try:
                self.part(layer)
            except UntranslatableError as error:
                problems[str(error)].append(f"{layer.name} ({layer.class_name})")
            except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
                problems[f"Keras rejects its settings: {_first_line(error)}"].append(layer.name)
        _reserve_names(layer.name for layer in self.config.walk())
        if problems:
            raise UnreadableLayersError(
                "; ".join(f"{', '.join(layers)}: {reason}" for reason, layers in problems.items())
            )
        return self.model(self.config, [])

    def part(self, config: LayerConfig) -> Part:
        """Translate a layer. Raise `UntranslatableError` if it cannot be read."""
        if id(config) not in self._parts:
            part = self._translated(config)
            _limit_weights(part.layer, self._largest)
            self._parts[id(config)] = part
        return self._parts[id(config)]

    def _translated(self, config: LayerConfig) -> Part:
        if self.origin.version >= (2, 0, 0):
            return translate(config, self)
        newer = modern(config)
        part = translate(newer, self)
        rearranged, arrange = arrays_of(newer), part.arrange
        part.arrange = lambda arrays: arrange(rearranged(arrays))
        return part

    def note(self, text: str, layer: LayerConfig) -> None:
        """Record a note on how a layer was translated."""
        self.notes[text].append(layer.name)

    def model(self, config: ModelConfig, shapes: list[Any]) -> tuple[Any, list[Part]]:
        """Build a model, and return it with its layers in the order of the file.

        Args:
            config: Graph of the model.
            shapes: Shapes of the inputs with the batch axis, for inputs whose shape the file does not state.
        """
        return _Graph(self, config, shapes).build()

    def call(self, part: Part, inputs: Any) -> Any:
        """Call a layer with its inputs in the axis order that it needs."""
        return Axes().call(part, inputs, {})


class Axes:
    """Calls layers with the channels last.

    It stores each tensor in both axis orders, so that few transpositions are needed.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[Any, Any]] = {}
        """Each channels-first tensor and its channels-last version. The key is the `id` of the channels-first
        tensor."""

    def call(self, part: Part, inputs: Any, arguments: dict[str, Any]) -> Any:
        """Call a layer."""
        tensors = [tensor for tensor in flat_tensors(inputs) if hasattr(tensor, "shape")]
        if part.channels is None:
            moved = [self._last[id(tensor)][1] for tensor in tensors if id(tensor) in self._last]
            if not part.elementwise or not tensors or len(moved) < len(tensors):
                return part.run(inputs, arguments)
            places = iter(moved)
            output = part.run(keras.tree.map_structure(lambda _: next(places), inputs), arguments)
            return self._first(output, len(output.shape) - 2)
        spatial = part.channels if part.channels > 0 else max(len(tensor.shape) for tensor in tensors) - 2
        if spatial < 1:
            return part.run(inputs, arguments)
        sequence, *states = tensors if isinstance(inputs, list | tuple) else [inputs]
        if isinstance(inputs, list | tuple):
            given: Any = [self._moved(tensor, spatial) for tensor in (sequence, *states)]
        else:
            given = self._moved(sequence, spatial)
        outputs = part.run(given, arguments)
        return keras.tree.map_structure(lambda tensor: self._first(tensor, spatial), outputs)

    def _moved(self, tensor: Any, spatial: int) -> Any:
        if id(tensor) not in self._last:
            self._last[id(tensor)] = (tensor, channels_last(tensor, spatial))
        return self._last[id(tensor)][1]

    def _first(self, tensor: Any, spatial: int) -> Any:
        moved = channels_first(tensor, spatial)
        if moved is not tensor:
            self._last[id(moved)] = (moved, tensor)
        return moved


class _Graph:
    """Builds one model of the file."""

    def __init__(self, builder: Builder, config: ModelConfig, shapes: list[Any]) -> None:
        self._builder, self._config, self._shapes = builder, config, shapes
        self._layers = {layer.name: layer for layer in config.layers}
        self._outputs: dict[tuple[str, int], list[Any]] = {}
        self._models: dict[str, Any] = {}
        self._parts: dict[str, Part] = {}
        self._axes = Axes()

    def build(self) -> tuple[Any, list[Part]]:
        inputs = [self._input(reference, place) for place, reference in enumerate(self._config.inputs)]
        for name, call in self._order():
            if self._layers[name].class_name != "InputLayer":
                self._call(name, call)
        outputs = replaced(self._config.outputs, self._tensor)
        model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=plain_name(self._config.name))
        return model, [self._parts[layer.name] for layer in self._config.layers if layer.name in self._parts]

    def _input(self, reference: Reference, place: int) -> Any:
        config = self._layers[reference.layer]
        shape = config.input_shape or (self._shapes[place] if place < len(self._shapes) else None)
        if config.class_name != "InputLayer" or shape is None:
            msg = f"the input {config.name} has no shape: build the model with a shape, and save it again"
            raise ValueError(msg)
        tensor = keras.Input(tuple(shape[1:]), dtype=self._dtype(config), name=layer_name(config))
        self._outputs[config.name, 0] = [tensor]
        return tensor

    def _dtype(self, config: LayerConfig) -> str:
        for key in ("sparse", "ragged"):
            if config.config.get(key):
                msg = f"the input {config.name} is {key}, but only dense arrays are supported"
                raise ValueError(msg)
        dtype = config.config.get("dtype") or "float32"
        if isinstance(dtype, dict):
            dtype = (dtype.get("config") or {}).get("name", "float32")
        dtype = str(dtype).removeprefix("mixed_")
        if dtype in INTEGERS:
            return dtype
        if dtype not in FLOATS:
            msg = f"the input {config.name} has the type {dtype}, but only numbers are supported"
            raise ValueError(msg)
        return "int32" if self._only_looked_up(config) else "float32"

    def _only_looked_up(self, config: LayerConfig) -> bool:
        """Return True if an input is used only by embeddings, which convert it to int32."""
        users = [
            layer
            for layer in self._config.layers
            for call in layer.calls
            if any(reference.layer == config.name for reference in references(call))
        ]
        return bool(users) and all(layer.class_name == "Embedding" for layer in users)

    def _order(self) -> list[tuple[str, int]]:
        """Return the calls of the layers, each after the calls on which it depends."""
        needs = {
            (layer.name, place): {(reference.layer, reference.call) for reference in references(call)}
            for layer in self._config.layers
            for place, call in enumerate(layer.calls)
        }
        try:
            order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            names = " → ".join(name for name, _ in error.args[1])
            msg = f"the graph contains a cycle: {names[:200]}"
            raise ValueError(msg) from None
        for name, place in order:
            known = name in self._layers and place < max(len(self._layers[name].calls), 1)
            if not known or (not self._layers[name].calls and (name, 0) not in self._outputs):
                msg = f"the graph refers to call {place} of the layer {name}, which the file does not contain"
                raise ValueError(msg)
        return order

    def _tensor(self, value: Any) -> Any:
        if isinstance(value, Constant):
            return value.value
        if not isinstance(value, Reference):
            return value
        outputs = self._outputs[value.layer, value.call]
        if value.tensor >= len(outputs):
            msg = f"the graph refers to output {value.tensor} of the layer {value.layer}, which has {len(outputs)}"
            raise ValueError(msg)
        return outputs[value.tensor]

    def _call(self, name: str, place: int) -> None:
        config = self._layers[name]
        call = config.calls[place]
        try:
            outputs = self._run(config, replaced(call.inputs, self._tensor), self._arguments(call))
        except UnreadableLayersError:
            raise
        except UntranslatableError as error:
            msg = f"{name} ({config.class_name}): {error}"
            raise UnreadableLayersError(msg) from None
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            msg = f"the layer {name} ({config.class_name}) cannot be called: {_first_line(error)}"
            raise UnreadableLayersError(msg) from error
        self._outputs[name, place] = flat_tensors(outputs)

    def _arguments(self, call: Call) -> dict[str, Any]:
        arguments = {key: value for key, value in call.arguments.items() if value is not None}
        if arguments.get("training") is False:
            del arguments["training"]
        return {key: replaced(value, self._tensor) for key, value in arguments.items()}

    def _run(self, config: LayerConfig, inputs: Any, arguments: dict[str, Any]) -> Any:
        if config.model is not None:
            return self._run_model(config, inputs, arguments)
        part = self._parts.setdefault(config.name, self._builder.part(config))
        if isinstance(inputs, list) and len(inputs) == 1 and not part.keeps_structure:
            (inputs,) = inputs
        return self._axes.call(part, inputs, arguments)

    def _run_model(self, config: LayerConfig, inputs: Any, arguments: dict[str, Any]) -> Any:
        if arguments.get("training"):
            msg = "it is called with training=True, so its outputs are random"
            raise UntranslatableError(msg)
        tensors = list(flat(inputs)) if isinstance(inputs, list | dict) else [inputs]
        if config.name not in self._models:
            assert config.model is not None
            model, parts = self._builder.model(config.model, [tuple(tensor.shape) for tensor in tensors])
            self._models[config.name] = model
            self._parts[config.name] = Part(config, lambda *_: None, parts=parts)
        return self._models[config.name](tensors if len(tensors) > 1 else tensors[0])


@keras.saving.register_keras_serializable("orilla_keras2")
class LimitedZeros(keras.initializers.Initializer):
    """Initialiser that returns zeros, and rejects weights with more elements than the whole file has."""

    def __init__(self, largest: int) -> None:
        self.largest = largest

    def __call__(self, shape: Any, dtype: Any = None, **_: Any) -> Any:
        """Return the zeros. Raise `UntranslatableError` if there are too many."""
        if math.prod(shape) > self.largest:
            msg = f"its weight {list(shape)} is larger than all weights in the file"
            raise UntranslatableError(msg)
        return keras.ops.zeros(shape, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return {"largest": self.largest}


def _limit_weights(layer: Any, largest: int) -> None:
    """Initialise all weights of a layer with zeros, because the values in the file replace them."""
    for holder in (layer, *(getattr(layer, key, None) for key in ("cell", "forward_layer", "backward_layer"))):
        if holder is None:
            continue
        for key in [key for key in vars(holder) if key.endswith("_initializer")]:
            setattr(holder, key, LimitedZeros(largest))
        if hasattr(holder, "cell") and holder is not layer:
            _limit_weights(holder, largest)
        for cell in getattr(holder, "cells", ()):
            _limit_weights(cell, largest)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        del lines[0]
    return lines[0][:200] if lines else type(error).__name__


def _reserve_names(names: Iterable[str]) -> None:
    """Stop Keras from giving a layer name of the file to one of its own operations, such as one that combines masks."""
    highest: dict[str, int] = {}
    for name in names:
        match = re.fullmatch(r"([a-z][a-z_0-9]*?)(?:_(\d{1,3}))?", name)
        if match:
            highest[match[1]] = max(highest.get(match[1], 0), int(match[2] or 0))
    for name, count in highest.items():
        kind = type(name, (keras.Operation,), {"call": None, "compute_output_spec": None})
        for _ in range(count + 1):
            kind()

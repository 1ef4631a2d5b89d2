"""Convert LSTM, GRU and SimpleRNN layers to operators that edge runtimes support.

There are three forms, and each gives the same outputs as Keras:

- The *loop* that Keras traces for any recurrent layer: `WHILE` in LiteRT and `Loop` in ONNX. It keeps no state between
  calls.
- LiteRT's fused operator, `UNIDIRECTIONAL_SEQUENCE_LSTM`, whose weights can be quantised to int8. It keeps
  its state in the interpreter until a reset.
- The ONNX operators `LSTM`, `GRU` and `RNN`.

For the last two forms, a stand-in layer replaces the recurrent layer before the model is traced. The converter
recognises the stand-in and writes the operator.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from orilla.export.convert.frozen import flat

Recurrent = layers.LSTM | layers.GRU | layers.SimpleRNN
Weights = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Kernel, recurrent kernel and bias of a layer."""

# Source: specification of the ONNX operators, https://onnx.ai/onnx/operators/onnx__LSTM.html
ONNX_ACTIVATIONS: dict[str, tuple[str, float, float]] = {
    "tanh": ("Tanh", 0.0, 0.0),
    "sigmoid": ("Sigmoid", 0.0, 0.0),
    "relu": ("Relu", 0.0, 0.0),
    "softsign": ("Softsign", 0.0, 0.0),
    "softplus": ("Softplus", 0.0, 0.0),
    "linear": ("Affine", 1.0, 0.0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "hard_sigmoid_keras2": ("HardSigmoid", 0.2, 0.5),
}
"""ONNX name, alpha and beta of each activation. The keys are the Keras names."""


def recurrent_layers(model: keras.Model) -> list[layers.Layer]:
    """Return the recurrent layers, including those of nested models. A `Bidirectional` counts as one."""
    return [layer for layer in flat(model) if isinstance(layer, layers.RNN | layers.Bidirectional | Recurrent)]


def has_sequences(model: keras.Model) -> bool:
    """Return True if a model has recurrent layers or stand-ins for them."""
    return bool(recurrent_layers(model)) or any(isinstance(layer, _StandIn) for layer in flat(model))


def not_fused(layer: layers.Layer) -> str | None:
    """Return the reason why LiteRT's fused LSTM cannot replace a layer, or None if it can."""
    common = _not_plain(layer)
    if common is not None:
        return common
    for direction in _directions(layer):
        if not isinstance(direction, layers.LSTM):
            return f"{layer.name} is a {type(direction).__name__}, for which LiteRT has no fused operator"
        if _activations(direction) != ["sigmoid", "tanh"]:
            names = " and ".join(_activations(direction))
            return f"{layer.name} has the activations {names}, but the fused operator supports only sigmoid and tanh"
    return None


def not_onnx(layer: layers.Layer) -> str | None:
    """Return the reason why ONNX operators cannot replace a layer, or None if they can."""
    common = _not_plain(layer)
    if common is not None:
        return common
    for direction in _directions(layer):
        unknown = set(_activations(direction)) - set(ONNX_ACTIVATIONS)
        if unknown:
            return f"{layer.name} has the activation {', '.join(sorted(unknown))}, which ONNX does not support"
    return None


def fused(model: keras.Model) -> keras.Model:
    """Return the model with each LSTM replaced by a stand-in that LiteRT's converter recognises.

    Raises:
        ValueError: The model has no recurrent layer, or has one without a fused form. The message names the layer.
    """
    recurrent = recurrent_layers(model)
    if not recurrent:
        msg = "the model has no LSTM"
        raise ValueError(msg)
    for layer in recurrent:
        reason = not_fused(layer)
        if reason is not None:
            raise ValueError(reason)
    return _rebuilt(model, {id(layer): _Fused(layer) for layer in recurrent})


def for_onnx(model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
    """Replace each recurrent layer for which ONNX has an operator with a stand-in. Other recurrent layers stay loops.

    Returns:
        The model with the stand-ins, and the handlers with which tf2onnx converts them.
    """
    marked = [_Marked(layer) for layer in recurrent_layers(model) if not_onnx(layer) is None]
    if not marked:
        return model, {}
    by_name = {stand_in.mark: stand_in for stand_in in marked}

    def handle(graph: Any, node: Any, name: str, _arguments: Any) -> None:
        (mark,) = re.findall(r"recurrent_[0-9a-f]{32}", name)
        _write_onnx(graph, node, by_name[mark])

    return _rebuilt(model, {id(stand_in.original.layer): stand_in for stand_in in marked}), {"PyFunc": (handle, [])}


def _rebuilt(model: keras.Model, replacements: dict[int, layers.Layer]) -> keras.Model:
    """Return a copy of the model with some layers replaced. The copy shares the other layers with the model."""

    def choose(layer: layers.Layer) -> layers.Layer:
        if id(layer) in replacements:
            return replacements[id(layer)]
        if isinstance(layer, keras.Model) and any(id(inner) in replacements for inner in flat(layer)):
            return _rebuilt(layer, replacements)
        return layer

    return keras.models.clone_model(model, clone_function=choose)


def _directions(layer: layers.Layer) -> list[Any]:
    return [layer.forward_layer, layer.backward_layer] if isinstance(layer, layers.Bidirectional) else [layer]


def _activations(layer: Any) -> list[str]:
    used = [layer.activation] if isinstance(layer, layers.SimpleRNN) else [layer.recurrent_activation, layer.activation]
    return [getattr(activation, "__name__", str(activation)) for activation in used]


def _not_plain(layer: layers.Layer) -> str | None:
    """Return the reason why neither the fused operator nor an ONNX operator can express a layer, or None."""
    for direction in _directions(layer):
        if not isinstance(direction, Recurrent):
            return f"{layer.name} has a custom cell ({type(getattr(direction, 'cell', direction)).__name__})"
        if direction.stateful or direction.return_state:
            return f"{layer.name} {'is stateful' if direction.stateful else 'returns its state'}"
    if isinstance(layer, layers.Bidirectional) and layer.merge_mode is None:
        return f"{layer.name} does not merge its directions"
    if not layer._inbound_nodes:  # noqa: SLF001 - Keras has no public equivalent.
        return f"{layer.name} is called inside another layer"
    for node in layer._inbound_nodes:  # noqa: SLF001 - Keras has no public equivalent.
        if any(getattr(tensor, "_keras_mask", None) is not None for tensor in node.input_tensors):
            return f"{layer.name} receives a mask"
        if len(node.input_tensors) > 1:
            return f"{layer.name} receives an initial state"
    return None


class _StandIn(layers.Layer):
    """Layer with the name, shape and weight arrays of a recurrent layer, but without variables."""

    def __init__(self, original: layers.Layer) -> None:
        super().__init__(name=original.name)
        self.original: Any = _Hidden(original)
        self.arrays = [_weights(direction) for direction in _directions(original)]

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> Any:
        return self.original.layer.compute_output_shape(shape)


class _Hidden:
    """Container that hides a layer from Keras, so that Keras does not track the variables of the layer."""

    def __init__(self, layer: layers.Layer) -> None:
        self.layer = layer


class _Fused(_StandIn):
    """Stand-in that calls a function, which LiteRT's converter replaces with its fused operator.

    The converter reads only the attributes and the arguments of the function, not its body.

    Source: TensorFlow, `tensorflow/compiler/mlir/lite/utils/lstm_utils.cc` (`ConvertKerasLSTMLayer`).
    """

    def call(self, x: Any, mask: Any = None, initial_state: Any = None) -> Any:
        import tensorflow as tf

        layer = self.original.layer
        outputs = [self._run_direction(x, *pair) for pair in zip(_directions(layer), self.arrays, strict=True)]
        if len(outputs) == 1:
            return outputs[0]
        forward, backward = outputs
        if layer.return_sequences:
            backward = tf.reverse(backward, [1])
        return MERGES[layer.merge_mode](tf, forward, backward)

    def _run_direction(self, x: Any, layer: Any, arrays: Weights) -> Any:
        import tensorflow as tf

        steps, units = int(x.shape[1]), layer.units
        kernel, recurrent, bias = (tf.constant(array) for array in arrays)

        def stand_in(inputs: Any, output: Any, cell: Any, *weights: Any) -> Any:
            sequence = tf.zeros((1, steps, units)) + tf.reduce_sum(inputs) + sum(map(tf.reduce_sum, weights))
            return sequence[:, -1], sequence, output, cell, tf.constant(0.0)

        traits = {
            "api_implements": f"lstm_{uuid.uuid4()}",
            "api_preferred_device": "CPU",
            "go_backwards": False,
            "time_major": False,
        }
        function = tf.function(stand_in, autograph=False, experimental_attributes=traits)
        zeros = tf.zeros((1, units))
        last, sequence, *_ = function(
            tf.reverse(x, [1]) if layer.go_backwards else x, zeros, zeros, kernel, recurrent, bias
        )
        return sequence if layer.return_sequences else last


MERGES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "concat": lambda tf, forward, backward: tf.concat([forward, backward], -1),
    "sum": lambda _, forward, backward: forward + backward,
    "mul": lambda _, forward, backward: forward * backward,
    "ave": lambda _, forward, backward: (forward + backward) / 2.0,
}
"""Function for each merge mode of `Bidirectional`. The keys are the Keras names."""


class _Marked(_StandIn):
    """Stand-in that tf2onnx traces as a single node. The name of the node identifies the stand-in."""

    def __init__(self, original: layers.Layer) -> None:
        super().__init__(original)
        self.mark = f"recurrent_{uuid.uuid4().hex}"

    def call(self, x: Any, mask: Any = None, initial_state: Any = None) -> Any:
        import tensorflow as tf

        output = tf.numpy_function(_never_called, [x], tf.float32, name=self.mark)
        output.set_shape(self.compute_output_shape(tuple(x.shape)))
        return output


def _never_called(_: Any) -> Any:
    msg = "a stand-in layer can be converted, but not run"
    raise AssertionError(msg)


def _weights(layer: Any) -> Weights:
    """Return the kernel, recurrent kernel and bias of a layer in Keras layout. A missing bias becomes zeros."""
    cell = layer.cell
    kernel, recurrent = (
        np.asarray(keras.ops.convert_to_numpy(variable)) for variable in (cell.kernel, cell.recurrent_kernel)
    )
    if cell.bias is not None:
        return kernel, recurrent, np.asarray(keras.ops.convert_to_numpy(cell.bias))
    two = isinstance(layer, layers.GRU) and cell.reset_after
    return kernel, recurrent, np.zeros((2, kernel.shape[1]) if two else kernel.shape[1], np.float32)


def _write_onnx(graph: Any, node: Any, stand_in: _Marked) -> None:
    """Replace a stand-in with ONNX operators."""
    layer, name = stand_in.original.layer, node.name
    steps_first = graph.make_node("Transpose", [node.input[0]], attr={"perm": [1, 0, 2]}).output[0]
    outputs = []
    for number, (direction, arrays) in enumerate(zip(_directions(layer), stand_in.arrays, strict=True)):
        # ONNX returns the outputs of a reversed layer in time order. Keras returns them in processing order, and then
        # reverses the outputs of the second direction.
        reversed_time = direction.go_backwards != (number == 1)
        part = _Direction(f"{name}_{number}", direction, arrays, in_processing_order=reversed_time)
        outputs.append(_write_direction(graph, steps_first, part))
    if len(outputs) == 2:
        outputs = [_merge(graph, layer.merge_mode, *outputs)]
    graph.replace_all_inputs(node.output[0], outputs[0])
    graph.remove_node(name)


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a recurrent layer that is converted to ONNX."""

    name: str
    layer: Any
    arrays: Weights
    in_processing_order: bool
    """True to return the outputs in the order in which they are computed, False in time order."""


def _write_direction(graph: Any, x: str, direction: _Direction) -> str:
    """Add the nodes of one direction to the graph, and return the name of its output.

    The input `x` has the shape `[T,B,F]`. The output is the sequence `[B,T,H]`, or only its last step `[B,H]`.
    """
    name, layer = direction.name, direction.layer
    operator, attributes, gates = _onnx_operator(layer, direction.arrays)
    weights = [graph.make_const(f"{name}_{key}", array.astype(np.float32)).output[0] for key, array in gates.items()]
    node = graph.make_node(operator, [x, *weights], attr=attributes, output_count=3 if operator == "LSTM" else 2)
    axis_1 = graph.make_const(f"{name}_axis1", np.array([1], np.int64)).output[0]
    axis_0 = graph.make_const(f"{name}_axis0", np.array([0], np.int64)).output[0]
    if not layer.return_sequences:
        return str(graph.make_node("Squeeze", [node.output[1], axis_0]).output[0])
    sequence = graph.make_node("Squeeze", [node.output[0], axis_1]).output[0]
    if direction.in_processing_order:
        first = graph.make_const(f"{name}_last", np.array([-1], np.int64)).output[0]
        end = graph.make_const(f"{name}_end", np.array([np.iinfo(np.int64).min], np.int64)).output[0]
        sequence = graph.make_node("Slice", [sequence, first, end, axis_0, first]).output[0]
    return str(graph.make_node("Transpose", [sequence], attr={"perm": [1, 0, 2]}).output[0])


def _onnx_operator(layer: Any, arrays: Weights) -> tuple[str, dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Return the ONNX operator for a layer, the attributes of the operator, and the weights by their ONNX names."""
    kernel, recurrent, bias = arrays
    operator, order = {layers.LSTM: ("LSTM", (0, 3, 1, 2)), layers.GRU: ("GRU", (0, 1, 2))}.get(
        type(layer), ("RNN", (0,))
    )
    units = layer.units
    if isinstance(layer, layers.GRU) and bias.ndim == 2:
        of_input, of_state = bias
    else:
        of_input, of_state = bias, np.zeros_like(bias)
    gates = {
        "W": _gates(kernel.T, order, units)[None],
        "R": _gates(recurrent.T, order, units)[None],
        "B": np.concatenate([_gates(of_input, order, units), _gates(of_state, order, units)])[None],
    }
    activations = [ONNX_ACTIVATIONS[activation] for activation in _activations(layer)]
    if isinstance(layer, layers.LSTM):
        activations.append(activations[1])  # The cell and its output have the same activation.
    attributes: dict[str, Any] = {
        "hidden_size": units,
        "direction": "reverse" if layer.go_backwards else "forward",
        "activations": [activation for activation, _, _ in activations],
    }
    # `activation_alpha` and `activation_beta` contain values only for the activations that have parameters.
    with_parameters = [activation for activation in activations if activation[1:] != (0.0, 0.0)]
    if with_parameters:
        attributes |= {
            "activation_alpha": [alpha for _, alpha, _ in with_parameters],
            "activation_beta": [beta for _, _, beta in with_parameters],
        }
    if isinstance(layer, layers.GRU):
        attributes["linear_before_reset"] = int(layer.cell.reset_after)
    return operator, attributes, gates


def _gates(array: NDArray[np.float32], order: tuple[int, ...], units: int) -> NDArray[np.float32]:
    """Reorder the gates along the first axis from the order of Keras to the order of ONNX."""
    return np.concatenate([array[gate * units : (gate + 1) * units] for gate in order])


def _merge(graph: Any, mode: str, forward: str, backward: str) -> str:
    if mode == "concat":
        return str(graph.make_node("Concat", [forward, backward], attr={"axis": -1}).output[0])
    merged = graph.make_node("Mul" if mode == "mul" else "Add", [forward, backward]).output[0]
    if mode == "ave":
        half = graph.make_const(f"{forward}_half", np.array(0.5, np.float32)).output[0]
        merged = graph.make_node("Mul", [merged, half]).output[0]
    return str(merged)

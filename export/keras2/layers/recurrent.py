"""Functions that translate recurrent layers, their cells, and the wrappers around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers

from orilla.export.keras2.activations import activation_of
from orilla.export.keras2.config import LayerConfig, layer_of
from orilla.export.keras2.layers.simple import first
from orilla.export.keras2.layers.translator import Translation, Translator, kept, layer_name
from orilla.export.keras2.origin import Origin, UntranslatableError
from orilla.export.keras2.part import Arrays, Part, as_sequence

SEQUENCE = ("return_sequences", "return_state", "go_backwards", "unroll")
CONVOLUTION = ("filters", "kernel_size", "strides", "padding", "dilation_rate", "use_bias")
HARD_UNTIL = (2, 3, 0)
"""First Keras version whose LSTM and GRU have sigmoid gates by default. If a file does not state the activation of the
gates, the default of its Keras version applies."""


def _gates(config: LayerConfig, origin: Origin, default: str | None = None) -> dict[str, Any]:
    """Return the activation arguments of an LSTM, GRU or convolutional LSTM."""
    default = default or ("hard_sigmoid" if origin.version < HARD_UNTIL else "sigmoid")
    gates = config.config.get("recurrent_activation")
    return {
        "activation": activation_of(config.config.get("activation", "tanh")),
        "recurrent_activation": activation_of(default if gates is None else gates),
    }


def _lstm_cell(config: LayerConfig, origin: Origin) -> dict[str, Any]:
    return kept(config, "units", "use_bias") | _gates(config, origin)


def _gru_cell(config: LayerConfig, origin: Origin) -> dict[str, Any]:
    # Files written before Keras 2.1.3 do not contain `reset_after`. Their GRU resets before the multiplication.
    reset_after = bool(config.config.get("reset_after", False))
    return kept(config, "units", "use_bias") | _gates(config, origin) | {"reset_after": reset_after}


def _simple_cell(config: LayerConfig, _: Origin) -> dict[str, Any]:
    return kept(config, "units", "use_bias") | {"activation": activation_of(config.config.get("activation", "tanh"))}


def _convolutional_cell(config: LayerConfig, origin: Origin) -> dict[str, Any]:
    # In all versions of Keras 2, `hard_sigmoid` is the default for the gates of a convolutional LSTM.
    options = kept(config, *CONVOLUTION) | _gates(config, origin, default="hard_sigmoid")
    return options | {"data_format": "channels_last"}


def _cudnn_cell(config: LayerConfig, _: Origin) -> dict[str, Any]:
    return kept(config, "units") | {"activation": "tanh", "recurrent_activation": "sigmoid"}


def recurrent(
    kind: Any, cell: Callable[[LayerConfig, Origin], dict[str, Any]], arrange: Callable[[Arrays], Arrays] = list
) -> Translation:
    """Return the function that translates a recurrent layer.

    Args:
        kind: Class of Keras 3.
        cell: Function that returns the arguments of the cell for a configuration.
        arrange: Function that brings the arrays in the file into the order and shapes of Keras 3.
    """

    def translate(config: LayerConfig, translator: Translator) -> Part:
        _check(config, translator)
        options = cell(config, translator.origin) | _sequence_options(config)
        if "Conv" in config.class_name:
            options.pop("unroll", None)
        layer = kind(**options)
        return Part(
            config,
            _runner(layer),
            layer,
            arrange=lambda arrays: arrange(_from_cudnn(arrays)),
            stores=("cell",) if "CuDNN" not in config.class_name else ("",),
            channels=int(config.class_name[-2]) if first(config) else None,
            in_file=_of_keras_1(config),
        )

    return translate


def _of_keras_1(config: LayerConfig) -> Callable[[], tuple[int, int]] | None:
    """Return a function for `Part.in_file` if a Keras 1 layer stores each gate separately, else None."""
    count = config.config.get("arrays_of_keras_1")
    return None if count is None else lambda: (count, 0)


def _check(config: LayerConfig, translator: Translator) -> None:
    if config.config.get("time_major"):
        msg = "its time axis is before the batch axis (time_major)"
        raise UntranslatableError(msg)
    if config.config.get("stateful"):
        translator.note("is stateful in the file; after the export, each sample starts with a state of zeros", config)


def _sequence_options(config: LayerConfig) -> dict[str, Any]:
    options = {key: bool(config.config[key]) for key in SEQUENCE if key in config.config}
    if config.config.get("zero_output_for_mask"):
        options["zero_output_for_mask"] = True
    return options


def _runner(layer: Any) -> Callable[[Any, dict[str, Any]], Any]:
    """Return the function that calls a recurrent layer. Keras 2 appends the initial states to the inputs."""

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        if arguments.pop("constants", None) is not None:
            msg = "it receives constants in addition to its states"
            raise UntranslatableError(msg)
        sequence, *states = as_sequence(inputs)
        given = arguments.pop("initial_state", None)
        states = states or list(as_sequence(given) if given is not None else ())
        if states:
            arguments["initial_state"] = states
        return layer(sequence, **arguments)

    return run


def _from_cudnn(arrays: Arrays) -> Arrays:
    """Convert the arrays of `CuDNNLSTM` and `CuDNNGRU` (two biases in one vector) to those of `LSTM` and `GRU`.

    Source: `_convert_rnn_weights` in `keras/engine/saving.py` of Keras 2.2.4.
    """
    if len(arrays) != 3 or arrays[2].ndim != 1:
        return arrays
    kernel, recurrent_kernel, bias = arrays
    units = recurrent_kernel.shape[0]
    gates = recurrent_kernel.shape[1] // max(units, 1)
    if bias.shape != (2 * gates * units,) or gates not in (3, 4):
        return arrays
    kernel = np.hstack([part.T.reshape(part.shape, order="F") for part in np.hsplit(kernel, gates)])
    recurrent_kernel = np.hstack([part.T for part in np.hsplit(recurrent_kernel, gates)])
    bias = bias.reshape(2, -1)
    return [kernel, recurrent_kernel, bias.sum(axis=0) if gates == 4 else bias]


def _gates_of_keras_1(order: tuple[int, ...]) -> Callable[[Arrays], Arrays]:
    """Return a function that concatenates the gates of Keras 1, three arrays each, in the order of Keras 2."""

    def arrange(arrays: Arrays) -> Arrays:
        if len(arrays) != 3 * len(order):
            return arrays
        return [np.concatenate([arrays[3 * gate + place] for gate in order], axis=-1) for place in range(3)]

    return arrange


def bidirectional(config: LayerConfig, translator: Translator) -> Part:
    """Translate `Bidirectional`."""
    inner = translator.part(_inner(config, "layer"))
    forward = inner.layer
    if not hasattr(forward, "go_backwards"):
        msg = f"it wraps a {type(forward).__name__}, which is not a recurrent layer"
        raise UntranslatableError(msg)
    options = {}
    if config.config.get("backward_layer") is not None:
        options["backward_layer"] = translator.part(_inner(config, "backward_layer")).layer
    merge_mode = config.config.get("merge_mode", "concat")
    layer = layers.Bidirectional(forward, merge_mode=merge_mode, name=layer_name(config), **options)
    for direction in (layer.forward_layer, layer.backward_layer):
        if not _zeros_at_masked_steps(direction, translator.origin):
            direction.zero_output_for_mask = False
    count = inner.in_file()[0] if inner.in_file is not None else None

    def arrange(arrays: Arrays) -> Arrays:
        half = len(arrays) // 2
        return inner.arrange(arrays[:half]) + inner.arrange(arrays[half:])

    return Part(
        config,
        _runner(layer),
        layer,
        arrange=arrange,
        in_file=None if count is None else lambda: (2 * count, 0),
        stores=tuple(f"{side}/{store}" for side in ("forward_layer", "backward_layer") for store in inner.stores),
    )


def _zeros_at_masked_steps(layer: Any, origin: Origin) -> bool:
    """Return True if `Bidirectional`, in the Keras that wrote the file, returns zeros at masked steps.

    If False, it repeats the last output. The package `keras` always repeats it. TensorFlow 2.0 and 2.1 repeat it
    if cuDNN can run the layer.
    Source: `recurrent_v2.py` of TensorFlow 2.1 and 2.2.
    """
    if not layer.return_sequences or not origin.in_tensorflow:
        return False
    if origin.cell_names or not isinstance(layer, layers.LSTM | layers.GRU) or layer.unroll:
        return True
    cell = layer.cell
    for_cudnn = cell.activation.__name__ == "tanh" and cell.recurrent_activation.__name__ == "sigmoid" and cell.use_bias
    return not for_cudnn or (isinstance(layer, layers.GRU) and not cell.reset_after)


def time_distributed(config: LayerConfig, translator: Translator) -> Part:
    """Translate `TimeDistributed`. An inner layer that Keras 3 must call differently is wrapped in a small model."""
    row = _inner(config, "layer")
    if row.model is not None:
        return _time_distributed_model(config, row, translator)
    inner = translator.part(row)
    if row.class_name == "Masking" or row.config.get("mask_zero"):
        msg = "it creates a mask inside each step, which Keras 3 does not pass on"
        raise UntranslatableError(msg)
    part = replace(inner, config=config, channels=None, elementwise=False)
    part.stores = tuple(f"layer/{store}" for store in inner.stores)
    state: dict[str, Any] = {}

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        if "layer" not in state:
            wrapped = inner.layer
            if inner.channels is not None or wrapped is None:
                start = keras.Input(tuple(inputs.shape[2:]), dtype=inputs.dtype)
                wrapped = keras.Model(start, translator.call(inner, start))
            state["layer"] = layers.TimeDistributed(wrapped, name=layer_name(config))
        return state["layer"](inputs, **arguments)

    part.run = run
    return part


def _time_distributed_model(config: LayerConfig, row: LayerConfig, translator: Translator) -> Part:
    state: dict[str, Any] = {}

    def run(inputs: Any, arguments: dict[str, Any]) -> Any:
        if "layer" not in state:
            assert row.model is not None
            model, part.parts = translator.model(row.model, [(None, *inputs.shape[2:])])
            state["layer"] = layers.TimeDistributed(model, name=layer_name(config))
        return state["layer"](inputs, **arguments)

    part = Part(config, run, inner_store="layer")
    return part


def rnn(config: LayerConfig, translator: Translator) -> Part:
    """Translate `RNN` with one or several built-in cells."""
    _check(config, translator)
    cell, stores = _cell(config.config.get("cell"), translator.origin)
    layer = layers.RNN(cell, **_sequence_options(config), name=layer_name(config))
    return Part(config, _runner(layer), layer, stores=tuple(f"cell{store}" for store in stores))


def _cell(row: Any, origin: Origin) -> tuple[Any, tuple[str, ...]]:
    """Return a cell, and the subgroups of its group that contain its weights in a `.keras` file."""
    class_name = row.get("class_name") if isinstance(row, dict) else None
    inner = row.get("config") if isinstance(row, dict) else None
    if not isinstance(inner, dict):
        msg = "it has no cell"
        raise UntranslatableError(msg)
    if class_name == "StackedRNNCells":
        cells = [_cell(entry, origin)[0] for entry in inner.get("cells", [])]
        seen: dict[str, int] = {}
        stores = []
        for cell in cells:
            name = {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell"}.get(type(cell).__name__, "simple_rnn_cell")
            count = seen[name] = seen.get(name, -1) + 1
            stores.append(f"/cells/{name}" + (f"_{count}" if count else ""))
        return layers.StackedRNNCells(cells), tuple(stores)
    if class_name not in CELLS:
        msg = f"its cell {class_name} is a custom class, whose Python code is not in the file"
        raise UntranslatableError(msg)
    kind, options = CELLS[class_name]
    return kind(**options(LayerConfig(class_name, str(inner.get("name", "cell")), inner), origin)), ("",)


def _inner(config: LayerConfig, key: str) -> LayerConfig:
    """Return the layer inside a wrapper."""
    return layer_of(config.config.get(key))


CELLS: dict[str, tuple[Any, Callable[[LayerConfig, Origin], dict[str, Any]]]] = {
    "LSTMCell": (layers.LSTMCell, _lstm_cell),
    "GRUCell": (layers.GRUCell, _gru_cell),
    "SimpleRNNCell": (layers.SimpleRNNCell, _simple_cell),
}
"""For each cell: its class in Keras 3, and the function that returns its arguments."""

ROWS: dict[str, Translation] = {
    "LSTM": recurrent(layers.LSTM, _lstm_cell, _gates_of_keras_1((0, 2, 1, 3))),
    "GRU": recurrent(layers.GRU, _gru_cell, _gates_of_keras_1((0, 1, 2))),
    "SimpleRNN": recurrent(layers.SimpleRNN, _simple_cell),
    "CuDNNLSTM": recurrent(layers.LSTM, _cudnn_cell),
    "CuDNNGRU": recurrent(layers.GRU, lambda config, origin: _cudnn_cell(config, origin) | {"reset_after": True}),
    "ConvLSTM1D": recurrent(layers.ConvLSTM1D, _convolutional_cell),
    "ConvLSTM2D": recurrent(layers.ConvLSTM2D, _convolutional_cell, _gates_of_keras_1((0, 2, 1, 3))),
    "ConvLSTM3D": recurrent(layers.ConvLSTM3D, _convolutional_cell),
    "Bidirectional": bidirectional,
    "TimeDistributed": time_distributed,
    "RNN": rnn,
}
"""For each Keras 2 layer class, the function that builds the Keras 3 layer."""

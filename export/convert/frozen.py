"""Convert a Keras model to a single TensorFlow function without variables, which the converters can read."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from orilla.export.convert import keras3_hdf5
from orilla.export.convert.input_adapter import adapted, read_adapter
from orilla.export.keras2.file import origin_of
from orilla.export.keras2.read import read

SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""Names that TensorFlow accepts as the name of a scope. Source: `tf.name_scope`."""


def load(path: str) -> keras.Model:
    """Load a Keras model that computes in float32.

    Args:
        path: Path of a `.keras` file, a Keras 2 `.h5` file, a SavedModel folder or an `InputAdapter` file.

    Raises:
        ValueError: The format of the file is not supported, or it has layers that Keras does not know, or is already
            quantised. The message gives the cause.
    """
    return load_with_notes(path)[0]


def load_with_notes(path: str) -> tuple[keras.Model, tuple[str, ...]]:
    """Load a model as `load` does, and return it with notes on how a Keras 1 or 2 file was read."""
    model, notes = _load_with_notes(path)
    # TensorFlow uses the names of models and layers as scope names, which allow only some characters.
    for part in [model, *_parts(model)]:
        if SCOPE.fullmatch(part.name) is None:
            part.name = "x" + re.sub(r"[^A-Za-z0-9_]", "_", part.name)
    return model, notes


def _load_with_notes(path: str) -> tuple[keras.Model, tuple[str, ...]]:
    file = Path(path)
    if file.suffix == ".json":
        notes: list[str] = []

        def inner(model: str) -> keras.Model:
            loaded, found = load_with_notes(model)
            notes.extend(found)
            return loaded

        return adapted(read_adapter(file), inner), tuple(notes)
    if file.is_dir():
        return _saved_model(file), ()
    origin = origin_of(file)
    if origin is not None:
        return read(file, origin)
    model = _of_keras_3(file)
    return model, _made_stateless(model)


def _made_stateless(model: keras.Model) -> tuple[str, ...]:
    """Make stateful recurrent layers stateless, and return a note about each.

    A converted model has no state between two inferences.
    """
    notes = []
    for layer in flat(model):
        is_pair = isinstance(layer, keras.layers.Bidirectional)
        if not (is_pair or isinstance(layer, keras.layers.RNN)) or not layer.stateful:
            continue
        for part in (layer, layer.forward_layer, layer.backward_layer) if is_pair else (layer,):
            part.stateful = False
        notes.append(
            f"{layer.name} is stateful in the file; after the export, each sample starts with a state of zeros"
        )
    return tuple(notes)


def _of_keras_3(file: Path) -> keras.Model:
    """Load a file with Keras 3's loader."""
    try:
        # `is_hdf5` is also true for a zip file with an HDF5 file at certain offsets, so zip files are excluded.
        if h5py.is_hdf5(file) and not zipfile.is_zipfile(file):
            model = keras3_hdf5.load(file)
        else:
            model = keras.models.load_model(str(file), compile=False)
    except (TypeError, ValueError, OSError, KeyError) as error:
        raise ValueError(_reason(file, error)) from error
    for layer in flat(model):
        if getattr(layer, "quantization_mode", None):
            msg = (
                f"layer {layer.name} of {file.name} is already quantised ({layer.quantization_mode}): "
                "export the float model instead"
            )
            raise ValueError(msg)
    # Some models take a dictionary of inputs. This module passes inputs as a list, so such a model is wrapped.
    if isinstance(getattr(model, "input", None), dict):
        model = keras.Model(model.inputs, model.output, name=model.name)
    return _in_float32(model)


def _parts(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers and the nested models of a model."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _parts(layer)


def flat(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model, including those of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat(layer)
        else:
            yield layer
            if isinstance(layer, keras.layers.TimeDistributed):
                yield layer.layer


def freeze(model: keras.Model, weight_inputs: Mapping[str, keras.Variable] | None = None) -> Any:
    """Return a `tf.Module` whose function `call` takes the inputs of one sample and returns its outputs by name.

    The weights become constants before the conversion, because the converters cannot convert a loop that reads
    variables (operator `READ_VARIABLE`).

    Args:
        model: The Keras model.
        weight_inputs: Weights, by name, that become additional inputs and follow the model's own inputs. If this
            argument is given, nested functions are inlined, because ONNX has no equivalent of the functions that Keras
            compiles, for example for grouped convolutions.
    """
    import tensorflow as tf

    weights = dict(weight_inputs or {})
    signature = [
        *signature_of(model),
        *(tf.TensorSpec(variable.shape, variable.dtype, name=name) for name, variable in weights.items()),
    ]
    answer, count = call_of(model), len(model.inputs)
    outside = {id(variable) for variable in weights.values()}
    values = [
        (variable, keras.ops.convert_to_numpy(variable)) for variable in model.variables if id(variable) not in outside
    ]

    def call(*arguments: Any) -> dict[str, Any]:
        state = [(variable, tf.constant(value)) for variable, value in values]
        state += zip(weights.values(), arguments[count:], strict=True)
        with keras.StatelessScope(state_mapping=state):
            tf.config.run_functions_eagerly(weight_inputs is not None)
            try:
                return answer(*arguments[:count])
            finally:
                tf.config.run_functions_eagerly(run_eagerly=False)

    module = tf.Module()
    module.owner = model  # A SavedModel stores only what its module refers to.
    module.call = tf.function(call, input_signature=signature, autograph=False)
    return module


def call_of(model: keras.Model) -> Callable[..., dict[str, Any]]:
    """Return a function that takes the inputs of the model and returns the outputs by name."""
    names, several = output_names(model), len(model.inputs) > 1

    def call(*inputs: Any) -> dict[str, Any]:
        outputs = model(list(inputs) if several else inputs[0], training=False)
        return dict(zip(names, keras.tree.flatten(outputs), strict=True))

    return call


def signature_of(model: keras.Model) -> list[Any]:
    """Return the signature of the model for one sample, with one `tf.TensorSpec` per input."""
    import tensorflow as tf

    return [
        tf.TensorSpec(fixed_shape(tensor, name), tensor.dtype, name=name)
        for tensor, name in zip(model.inputs, input_names(model), strict=True)
    ]


def input_names(model: keras.Model) -> list[str]:
    """Return the input names. A single input is `image`, `tokens` or `x`, and several inputs keep their Keras names."""
    if len(model.inputs) == 1:
        (tensor,) = model.inputs
        return ["image" if len(tensor.shape) == 4 else "tokens" if tensor.dtype == "int32" else "x"]
    return [_plain(tensor.name) for tensor in model.inputs]


def output_names(model: keras.Model) -> list[str]:
    """Return the output names.

    A single output is named `output`. Several outputs have the keys of the model's output dictionary as names, or their
    names in Keras. If a name occurs again, a number is appended to it.
    """
    if len(model.outputs) == 1:
        return ["output"]
    output = getattr(model, "output", None)
    names = sorted(output) if isinstance(output, dict) and len(output) == len(model.outputs) else model.output_names
    unique: list[str] = []
    for name in map(_plain, names):
        unique.append(name if name not in unique else f"{name}_{len(unique)}")
    return unique


def fixed_shape(tensor: Any, name: str) -> tuple[int, ...]:
    """Return the shape of an input for one sample. Raises `ValueError` if the size of an axis is not fixed."""
    shape = (1, *tensor.shape[1:])
    if None in shape:
        axis = shape.index(None)
        msg = (
            f"axis {axis} of the input {name}, {_described(shape)}, is not fixed: build the model with a fixed size, "
            f"or set `input`, for example to {'224x224' if len(shape) == 4 else '200'}"
        )
        raise ValueError(msg)
    return shape


def _described(shape: tuple[int | None, ...]) -> str:
    return "[" + ",".join("?" if size is None else str(size) for size in shape) + "]"


def _plain(name: str) -> str:
    """Return the name in a form that file formats and shells accept."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _saved_model(folder: Path) -> keras.Model:
    import tensorflow as tf

    if not (folder / "saved_model.pb").is_file():
        msg = f"{folder.name} contains no saved_model.pb, so it is neither a SavedModel nor a run folder"
        raise ValueError(msg)
    signatures = tf.saved_model.load(str(folder)).signatures
    if "serving_default" not in signatures:
        msg = f"{folder.name} has no signature serving_default; its signatures: {', '.join(signatures) or 'none'}"
        raise ValueError(msg)
    (_, inputs) = signatures["serving_default"].structured_input_signature
    if len(inputs) != 1:
        msg = f"{folder.name} has {len(inputs)} inputs: only a SavedModel with one input is supported"
        raise ValueError(msg)
    ((name, spec),) = inputs.items()
    x = keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=name)
    outputs = keras.layers.TFSMLayer(str(folder), call_endpoint="serving_default")(x)
    return keras.Model(x, outputs if len(outputs) > 1 else keras.tree.flatten(outputs))


def _in_float32(model: keras.Model) -> keras.Model:
    """Return the model with float32 arithmetic. A model that was trained in half precision is rebuilt."""
    if all(layer.compute_dtype not in HALF for layer in flat(model)):
        return model
    keras.config.set_dtype_policy("float32")
    exact = type(model).from_config(_replaced(model.get_config()))
    # A layer may save more state than its weight arrays, so the state is copied through a file.
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        file = Path(folder, "m.weights.h5")
        model.save_weights(file)
        exact.load_weights(file)
    return exact


HALF = ("float16", "bfloat16")


def _replaced(config: Any) -> Any:
    """Return the configuration with each half-precision policy replaced by float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config["config"]["name"].removeprefix("mixed_") in HALF:
            return "float32"
        return {
            key: "float32" if key == "dtype" and value in HALF else _replaced(value) for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_replaced(value) for value in config)
    return config


def _reason(file: Path, error: Exception) -> str:
    """Return one line with the reason why Keras could not load a file."""
    unknown = _custom_layer(file) or next(iter(re.findall(r"Unknown layer: '([^']+)'", str(error))), None)
    if unknown is not None:
        return f"{file.name} has the layer {unknown}, which Keras does not know: save the model without custom layers"
    function = re.search(r"Could not locate function '([^']+)'", str(error))
    if function is not None:
        return (
            f"{file.name} uses the function {function[1]}, which Keras does not know: use a built-in function, such as "
            "an activation of keras.activations, and save the model again"
        )
    # Keras prints the configurations of all enclosing objects before the cause.
    lines = str(error).rpartition("Exception encountered: ")[2].strip().splitlines()
    if "Lambda" in str(error):
        return f"{file.name} has a Lambda layer, whose Python code is not run: replace it with a built-in Keras layer"
    if file.suffix == ".keras" and not zipfile.is_zipfile(file):
        return f"cannot read {file.name} as a Keras model: it is not a zip file, but a .keras file must be one"
    if "Unable to synchronously open" in str(error):
        return f"cannot read {file.name} as a Keras model: it is not an HDF5 file, or it is damaged"
    return f"cannot read {file.name} as a Keras model: {lines[0][:200] if lines else type(error).__name__}"


def _custom_layer(file: Path) -> str | None:
    """Return the name of the first class in a `.keras` file that is not part of Keras, or None."""
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError):
        return None
    waiting = [config]
    while waiting:
        entry = waiting.pop(0)
        if isinstance(entry, dict):
            module = entry.get("module")
            if "class_name" in entry and "module" in entry and not str(module).startswith(("keras", "builtins")):
                return str(entry.get("registered_name") or entry["class_name"])
            waiting.extend(entry.values())
        elif isinstance(entry, list):
            waiting.extend(entry)
    return None

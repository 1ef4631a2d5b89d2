"""Convert Keras models to LiteRT files.

The files are float, or are quantised by TensorFlow's converter where its results are better than those of
`litert-quantizer`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from orilla.runtime.tflite.rewrite import rewritten

MAX_DIRECT_BYTES = 10 << 20
"""Maximum size of the weights in bytes for a conversion without a SavedModel. Such a conversion makes the weights
constants of the function, which takes three times the memory."""


def convert(model: str, out: str) -> None:
    """Convert the model file `model` to the float32 file `out`, which has one signature.

    Recurrent layers become loops.
    """
    _write(_loaded(model), out)


def convert_fused(model: str, out: str) -> None:
    """Convert as in `convert`, but turn each LSTM into one operator, which keeps its state until a reset."""
    _write(_loaded(model, fused=True), out)


def convert_float16(model: str, out: str) -> None:
    """Convert a model and store all constants as float16, including embedding tables and weights inside loops."""
    import tensorflow as tf

    _write(_loaded(model), out, lambda converter: _set(converter, supported_types=[tf.float16]))


def convert_dynamic(model: str, out: str) -> None:
    """Convert a model and quantise its weights to int8, including embedding tables and weights inside loops.

    Operators quantise their float32 activations to int8 at run time.
    """
    _write(_loaded(model), out, _set)
    _check_small(out)


def convert_fused_dynamic(model: str, out: str) -> None:
    """Convert as in `convert_dynamic`, but turn each LSTM into one operator."""
    _write(_loaded(model, fused=True), out, _set)
    _check_small(out)


def _check_small(file: str) -> None:
    """Raise `ValueError` if the converter quantised nothing. It skips weights with fewer than 1024 elements."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file)
    subgraphs = (interpreter.get_tensor_details(subgraph_index=index) for index in range(interpreter.num_subgraphs()))
    if not any(tensor["dtype"] == np.int8 for tensors in subgraphs for tensor in tensors):
        msg = "every weight is too small to be quantised, so the result would equal the float32 variant"
        raise ValueError(msg)


def convert_static_uint8(model: str, out: str, calibration: str) -> None:
    """Convert a model and quantise weights and activations to int8, and inputs and outputs to uint8.

    The models that Coral publishes for the Edge TPU are quantised in this way.

    Args:
        model: Path of the model file.
        out: Path of the file to write.
        calibration: Path of a calibration file that `calibration_samples` can read.
    """
    import tensorflow as tf

    def full(converter: Any) -> None:
        _set(converter, supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8])
        # Several inputs are passed by name, because the converter changes their order.
        converter.representative_dataset = lambda: (
            sample if len(sample) > 1 else [*sample.values()] for sample in calibration_samples(calibration)
        )
        converter.inference_input_type = converter.inference_output_type = tf.uint8

    _write(_loaded(model), out, full)


def calibration_samples(file: str) -> Iterator[dict[str, np.ndarray]]:
    """Yield the samples of a calibration file, each as a batch of one.

    Args:
        file: Path of a `.npz` file with one array `[N,...]` per input. Images are uint8, and tokens are int32.
    """
    with np.load(file) as arrays:
        inputs = {name: arrays[name] for name in arrays.files}
    for index in range(len(next(iter(inputs.values())))):
        yield {name: _as_input(array[index : index + 1]) for name, array in inputs.items()}


def _as_input(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind == "i" else array.astype(np.float32)


def _loaded(model: str, *, fused: bool = False) -> Any:
    from orilla.export.convert.frozen import load
    from orilla.export.convert.lower_recurrent import fused as with_fused

    return with_fused(load(model)) if fused else load(model)


def _set(converter: Any, **target: Any) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    for name, value in target.items():
        setattr(converter.target_spec, name, value)


def _write(network: Any, out: str, configure: Any = lambda _converter: None) -> None:
    import keras

    from orilla.export.convert.frozen import SCOPE, flat
    from orilla.export.convert.lower_recurrent import has_sequences

    special = has_sequences(network) or any(isinstance(layer, keras.layers.TFSMLayer) for layer in flat(network))
    small = 4 * network.count_params() <= MAX_DIRECT_BYTES
    # A SavedModel cannot contain variables whose names are not valid scope names.
    odd = any(SCOPE.fullmatch(variable.path) is None for variable in network.variables)
    direct = (small or odd) and not special and len(network.inputs) == 1
    write = _write_directly if direct else _write_by_saved_model
    write(network, out, configure)


def _write_directly(network: Any, out: str, configure: Any) -> None:
    """Convert a model without an intermediate SavedModel, in a tenth of the time.

    The converter then writes no signature, so this function adds one.
    """
    import tensorflow as tf

    from orilla.export.convert.frozen import freeze, input_names

    module = freeze(network)
    function = module.call.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.experimental_lower_to_saved_model = False
    configure(converter)
    names = (input_names(network), sorted(function.structured_outputs))
    Path(out).write_bytes(rewritten(converter.convert(), lambda model, schema: _sign(model, schema, *names)))


def _sign(model: Any, schema: Any, inputs: list[str], outputs: list[str]) -> None:
    """Add a signature with these names. The converter keeps the order of the inputs and outputs."""
    (graph,) = model.subgraphs
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_named(schema, *pair) for pair in zip(inputs, graph.inputs, strict=True)]
    signature.outputs = [_named(schema, *pair) for pair in zip(outputs, graph.outputs, strict=True)]
    model.signatureDefs = [signature]


def _named(schema: Any, name: str, tensor: int) -> Any:
    named = schema.TensorMapT()
    named.name, named.tensorIndex = name.encode(), int(tensor)
    return named


def _write_by_saved_model(network: Any, out: str, configure: Any) -> None:
    import keras
    import tensorflow as tf

    from orilla.export.convert.frozen import call_of, flat, freeze, signature_of
    from orilla.export.convert.lower_recurrent import has_sequences

    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        if has_sequences(network) or any(isinstance(layer, keras.layers.TFSMLayer) for layer in flat(network)):
            module = freeze(network)
            tf.saved_model.save(module, folder, signatures={"serving_default": module.call})
        else:  # Variables are kept, because constants would triple the memory of the conversion.
            archive = keras.export.ExportArchive()
            archive.track(network)
            archive.add_endpoint("serving_default", call_of(network), input_signature=signature_of(network))
            archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        configure(converter)
        data = converter.convert()
    Path(out).write_bytes(data)

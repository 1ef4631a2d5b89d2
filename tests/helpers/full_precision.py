"""Full-precision versions of the shipped models, for budgets that are relative to full precision.

`docs/decisions/008-full-precision-in-tests.md` explains why they are built instead of stored. If you replace a shipped
model, record the outputs of its original again: `python tests/helpers/full_precision.py NAME BUNDLE DATA`. BUNDLE must
be made with `orilla export --recipes litert_fp32`.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import FileTensor
from orilla.runtime.engines import loader
from orilla.runtime.evaluation.accuracy import open_labelled
from orilla.runtime.evaluation.datasets.raw import prepared
from orilla.runtime.preprocessing.tensor_spec import only
from orilla.runtime.tflite.rewrite import rewritten

OUTPUTS = Path(__file__).parents[1] / "full_precision"
"""Folder that contains, for each shipped model, the recorded outputs of its original in `NAME.npz`."""

LEVELS = 255
"""Number of steps between the outputs 0 and 1. It is odd, so an output above or below 0.5 remains so after rounding."""


def in_full_precision(data: bytes) -> bytes:
    """Return a copy of a quantised `.tflite` file in which all operators compute in float32."""
    return rewritten(data, _dequantise)


def _dequantise(model: Any, schema: Any) -> None:
    stored = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}
    (graph,) = model.subgraphs
    for tensor in graph.tensors:
        quantisation = tensor.quantization
        scale = None if quantisation is None else quantisation.scale
        if tensor.type in stored and scale is not None and len(scale) > 0:
            buffer = model.buffers[tensor.buffer]
            if buffer.data is not None and len(buffer.data) > 0:
                values = np.asarray(buffer.data, np.uint8).view(stored[tensor.type]).reshape(tensor.shape)
                channels = np.ones(max(1, values.ndim), int)
                channels[quantisation.quantizedDimension] = len(scale)
                numbers = (values - quantisation.zeroPoint.reshape(channels)) * scale.reshape(channels)
                buffer.data = numbers.astype(np.float32).ravel().view(np.uint8)
            tensor.type = schema.TensorType.FLOAT32
        tensor.quantization = None
    dequantise = schema.BuiltinOperator.DEQUANTIZE
    codes = {index for index, code in enumerate(model.operatorCodes) if code.builtinCode == dequantise}
    source = {operator.outputs[0]: operator.inputs[0] for operator in graph.operators if operator.opcodeIndex in codes}
    graph.operators = [operator for operator in graph.operators if operator.opcodeIndex not in codes]
    for operator in graph.operators:
        operator.inputs = [source.get(index, index) for index in operator.inputs]


def build(name: str, path: Path) -> Path:
    """Write a bundle with the full-precision version of the default variant of the shipped bundle `name`."""
    shipped = Bundle.open(name)
    manifest = shipped.manifest
    variant = manifest.variant(manifest.default)
    tensors = {"inputs": _in_float(variant.inputs), "outputs": _in_float(variant.outputs)}
    precision = {"weights": "float32", "activations": "float32"}
    whole = msgspec.structs.replace(
        variant, name="litert_fp32", file="variants/litert_fp32.tflite", **precision, **tensors
    )
    files = {file: shipped.read(file) for file in manifest.files if not file.startswith("variants/")}
    files[whole.file] = in_full_precision(shipped.read(variant.file))
    changes = {"variants": (whole,), "default": whole.name, "files": bundles.entries(files)}
    bundles.write(path, msgspec.structs.replace(manifest, **changes), files)
    return path


def _in_float(tensors: tuple[FileTensor, ...]) -> tuple[FileTensor, ...]:
    return tuple(
        msgspec.structs.replace(tensor, dtype="float32", scale=None, zero_point=None)
        if tensor.scale is not None
        else tensor
        for tensor in tensors
    )


class RecordedOriginal:
    """Session that replays the recorded outputs of the original model behind a shipped bundle, one sample per call."""

    def __init__(self, name: str) -> None:
        (self._name,) = (spec.name for spec in Bundle.open(name).manifest.outputs)
        self._outputs = iter(np.load(OUTPUTS / f"{name}.npz")["outputs"])

    def run(self, sample: object) -> dict[str, NDArray[np.float32]]:
        """Return the output for the next sample. `sample` is ignored."""
        return {self._name: np.asarray(next(self._outputs) / LEVELS, np.float32)}

    def close(self) -> None:
        """Do nothing."""


def record(name: str, bundle: Bundle, data: str) -> Path:
    """Run the bundle's default variant on the validation samples, and write its outputs, which are probabilities."""
    dataset, preprocessor = open_labelled(data, bundle.manifest), bundle.preprocessor()
    split = dataset.check_split
    with closing(loader.load(bundle, bundle.manifest.variant(bundle.manifest.default))) as session:
        samples = (dataset.load(split, index) for index in range(len(dataset.names(split))))
        outputs = [only(session.run(prepared(sample, preprocessor))) for sample in samples]
    OUTPUTS.mkdir(exist_ok=True)
    path = OUTPUTS / f"{name}.npz"
    np.savez_compressed(path, outputs=np.round(LEVELS * np.stack(outputs)).astype(np.uint8))
    return path


if __name__ == "__main__":
    print(record(sys.argv[1], Bundle.open(sys.argv[2]), sys.argv[3]))

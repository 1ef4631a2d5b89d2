"""Add metadata for other runtimes to model files that leave the bundle.

A `.tflite` file gets TensorFlow Lite's metadata (labels, normalisation, description), which MediaPipe Tasks and
Android's tools read. An `.onnx` file gets metadata properties.

Source of the tables: tensorflow/tflite-support, `tensorflow_lite_support/metadata/metadata_schema.fbs`, version 1.1.0.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from orilla.runtime.bundle.bundle import EPOCH, Bundle
from orilla.runtime.bundle.manifest import Manifest, Variant
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tflite.rewrite import rewritten

NAME, IDENTIFIER, PARSER = "TFLITE_METADATA", b"M001", "1.0.1"
LABELS, VOCABULARY = "labels.txt", "vocabulary.txt"
MAX_ABOUT = 400
"""Maximum length in characters of a tensor's description."""
AXIS_LABELS, VOCABULARY_FILE = 2, 5
"""Members of the schema's enumeration `AssociatedFileType`."""
COLOR_SPACES = {"bgr": 0, "rgb": 1, "grey": 2}
"""Members of the enumeration `ColorSpaceType`. It has no member for BGR, so 0 ("unknown") is used."""
IMAGE_PROPERTIES, FEATURE_PROPERTIES, NORMALISATION = 2, 1, 1
"""Members of other enumerations and unions of the schema."""


def with_metadata(bundle: Bundle, variant: Variant) -> bytes:
    """Return the content of the variant's file with the bundle's metadata added.

    Raises:
        MissingExtraError: The packages that rewrite a `.tflite` file are not installed.
    """
    data, write = bundle.read(variant.file), WRITERS.get(variant.format)
    return data if write is None else write(data, bundle, variant)


def _onnx(data: bytes, bundle: Bundle, variant: Variant) -> bytes:
    """Append entries of `ModelProto.metadata_props`. Fields that follow a protobuf message extend it."""
    manifest = bundle.manifest
    summary = {
        "orilla.name": manifest.name,
        "orilla.task": manifest.task,
        "orilla.recipe": variant.name,
        "orilla.preprocess": json.dumps(_preprocess(manifest)),
        "orilla.metrics": json.dumps(variant.check.metrics),
        "names": json.dumps(dict(enumerate(manifest.labels))),
    }
    if manifest.card is not None:
        summary["orilla.data_licence"] = manifest.card.data.licence
    return data + b"".join(
        _field(14, _field(1, key.encode()) + _field(2, value.encode())) for key, value in summary.items()
    )


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a protobuf message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _preprocess(manifest: Manifest) -> dict[str, Any]:
    import msgspec

    summary: dict[str, Any] = msgspec.to_builtins(manifest.preprocess)
    if isinstance(manifest.preprocess, Preprocess):
        raw = manifest.preprocess.is_raw
        summary["values"] = "0-255, normalised inside the graph" if raw else "(pixel - mean) / std"
    return summary


def _tflite(data: bytes, bundle: Bundle, variant: Variant) -> bytes:
    manifest = bundle.manifest
    files = {LABELS: "\n".join(manifest.labels).encode()} if manifest.labels else {}
    if manifest.vocabulary is not None:
        files[VOCABULARY] = bundle.read(manifest.vocabulary)

    def add(model: Any, schema: Any) -> None:
        main = model.subgraphs[0]
        labelled = bool(manifest.labels) and int(main.tensors[main.outputs[0]].shape[-1]) == len(manifest.labels)
        summary = _metadata(manifest, variant, len(main.inputs), len(main.outputs), labelled=labelled)
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(summary, np.uint8)
        entry.name, entry.buffer = NAME, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [old for old in model.metadata or [] if old.name not in (NAME, NAME.encode())] + [entry]

    stream = io.BytesIO(rewritten(data, add))
    # Readers expect the associated files at the end of the model file.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return stream.getvalue()


def _metadata(manifest: Manifest, variant: Variant, inputs: int, outputs: int, *, labelled: bool) -> bytes:
    import flatbuffers

    b = flatbuffers.Builder(1024)
    spec = manifest.preprocess
    content, units = (_image(b, spec), _normalisation(b, spec)) if isinstance(spec, Preprocess) else (_features(b), 0)
    words = _files(b, [(VOCABULARY, VOCABULARY_FILE)]) if manifest.vocabulary is not None else 0
    name, about = ("image", _values(spec)) if isinstance(spec, Preprocess) else ("input", "")
    input_tensors = [
        _table(b, 7, {0: _text(b, name), 1: _text(b, about), 3: content, 4: units, 6: words}) for _ in range(inputs)
    ]
    names = _files(b, [(LABELS, AXIS_LABELS)]) if labelled else 0
    about = ", ".join(manifest.labels)[:MAX_ABOUT]
    output_tensors = [
        _table(b, 7, {0: _text(b, "output"), 1: _text(b, about), 3: _features(b), 4: 0, 6: names})
        for _ in range(outputs)
    ]
    graph = _table(b, 5, {0: _text(b, manifest.task), 2: _vector(b, input_tensors), 3: _vector(b, output_tensors)})
    licence = manifest.card.data.licence if manifest.card is not None else ""
    about = f"{manifest.task}, {variant.name}; " + ", ".join(
        f"{name} {value:.4f}" for name, value in variant.check.metrics.items() if "/" not in name
    )
    fields = {
        0: _text(b, manifest.name),
        1: _text(b, about),
        3: _vector(b, [graph]),
        5: _text(b, f"training data: {licence}") if licence else 0,
        7: _text(b, PARSER),
    }
    b.Finish(_table(b, 8, fields), IDENTIFIER)
    return bytes(b.Output())


def _values(spec: Preprocess) -> str:
    return f"{spec.color.upper()}, 0-255" if spec.is_raw else f"{spec.color.upper()}, (pixel - mean) / std"


def _image(b: Any, spec: Preprocess) -> int:
    properties = _table(b, 2, {}, lambda: b.PrependInt8Slot(0, COLOR_SPACES[spec.color], 0))
    return _table(b, 3, {1: properties}, lambda: b.PrependUint8Slot(0, IMAGE_PROPERTIES, 0))


def _features(b: Any) -> int:
    return _table(b, 3, {1: _table(b, 0, {})}, lambda: b.PrependUint8Slot(0, FEATURE_PROPERTIES, 0))


def _normalisation(b: Any, spec: Preprocess) -> int:
    """Write the mean and the standard deviation, or 0 and 1 if the graph itself normalises the input."""
    options = _table(b, 2, {0: _floats(b, spec.mean), 1: _floats(b, spec.std)})
    return _vector(b, [_table(b, 2, {1: options}, lambda: b.PrependUint8Slot(0, NORMALISATION, 0))])


def _files(b: Any, files: Sequence[tuple[str, int]]) -> int:
    tables = []
    for name, kind in files:
        tables.append(_table(b, 4, {0: _text(b, name)}, _byte(b, 2, kind)))
    return _vector(b, tables)


def _byte(b: Any, slot: int, value: int) -> Callable[[], None]:
    return lambda: b.PrependInt8Slot(slot, value, 0)


def _text(b: Any, text: str) -> int:
    return int(b.CreateString(text))


def _floats(b: Any, values: Sequence[float]) -> int:
    return _elements(b, values, b.PrependFloat32)


def _vector(b: Any, offsets: Sequence[int]) -> int:
    return _elements(b, offsets, b.PrependUOffsetTRelative)


def _elements(b: Any, values: Sequence[Any], prepend: Callable[[Any], None]) -> int:
    """Write a vector of four-byte elements. `prepend` writes one element."""
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        prepend(value)
    return int(b.EndVector())


def _table(b: Any, slots: int, offsets: dict[int, int], scalars: Callable[[], None] = lambda: None) -> int:
    """Write a table.

    `offsets` contains the offset of each slot's object, or 0 for an empty slot. `scalars` writes the slots that contain
    numbers.
    """
    b.StartObject(slots)
    scalars()
    for slot, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(b.EndObject())


WRITERS: dict[str, Callable[[bytes, Bundle, Variant], bytes]] = {"onnx": _onnx, "tflite": _tflite}
"""Function that adds metadata to a file. The keys are the file formats. Files in other formats are not changed."""

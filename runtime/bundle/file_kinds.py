"""Recognise the kind of a file or folder by its content, so that error messages can state the kind and what to do.

The signatures are in `file_kinds.toml`. Formats without a signature are recognised here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from orilla.runtime.bundle.file_kind import FileKind, cut_off, kind_of, kinds
from orilla.runtime.bundle.folder_kinds import of_folder
from orilla.runtime.bundle.text_kinds import of_text

HEAD_BYTES = 4096
"""Number of bytes at the start of a file that are examined."""

HDF5_END = {0: 40, 1: 44, 2: 28, 3: 28}
"""Position in an HDF5 file at which the file's size is stored, by the version of its superblock.

Source: HDF5 File Format Specification 3.0, section II.A.
"""

IR_VERSION = 0x08
"""First byte of an ONNX model: the tag of the field `ir_version`."""

ONNX_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
"""Tags of the fields that can follow `ir_version`. Source: `onnx/onnx.proto`, message `ModelProto`."""

PICKLES = {
    b"xgboost": ("XGBoost", "trees"),
    b"lightgbm": ("LightGBM", "trees"),
    b"sklearn": ("scikit-learn", "sklearn"),
    b"torch": ("PyTorch", "torch"),
}
"""Module names that occur in pickles, each with the library that writes such pickles and the key of the advice."""


def recognise(path: Path) -> FileKind | None:
    """Return the kind of a file or folder, or None if it is unknown.

    Raises:
        OSError: The file does not exist or cannot be read.
    """
    if path.is_dir():
        return of_folder(path)
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        return kind_of("empty", "again", unusable=True)
    if not any(head):
        return kind_of("a file that begins with zeros, perhaps from an interrupted download", "again", unusable=True)
    signed = next((kind for kind in kinds() if _has_signature(head, kind)), None)
    if signed is not None:
        return _hdf5(path, head) or signed
    for look in (_zip, _pickle, _safetensors, of_text, _saved_model, _onnx, _by_name):
        if (found := look(path, head)) is not None:
            return found
    return None


def _has_signature(head: bytes, kind: FileKind) -> bool:
    return any(head[kind.at :].startswith(start.encode("latin-1")) for start in kind.starts)


def _hdf5(path: Path, head: bytes) -> FileKind | None:
    """Return the kind of a truncated HDF5 file, or None for any other file."""
    if not head.startswith(b"\x89HDF") or len(head) < 52 or head[8] not in HDF5_END:
        return None
    start, size = HDF5_END[head[8]], path.stat().st_size
    expected = int.from_bytes(head[start : start + 8], "little")
    return cut_off("an HDF5 file", f"it has {size} of {expected} bytes") if size < expected else None


def _zip(path: Path, head: bytes) -> FileKind | None:
    if not head.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError):
        return cut_off("a zip file", "its list of contents, which is at its end, is missing")
    inner = {name.partition("/")[2] for name in names} | set(names)
    if "manifest.json" in names:
        return kind_of("a bundle", reader="bundle")
    if {"config.json", "model.weights.h5"} <= inner:
        return kind_of("a Keras model", reader="export", suffixes=(".keras",))
    if any(name.startswith("code/") for name in inner):
        return kind_of("a TorchScript file", "torch", format="torch")
    if "data.pkl" in inner:
        return kind_of("a pickle of PyTorch", "torch", format="torch")
    if inner & {"models/model.json", "serialized_exported_program.json"}:
        return kind_of("a PyTorch program", reader="import", format="torch", suffixes=(".pt2",))
    if all(name.endswith(".npy") for name in names):
        return kind_of("a NumPy archive")
    return _archive(names)


def _archive(names: Sequence[str]) -> FileKind:
    """Return the kind of a zip file that is not itself a model. It names the models inside."""
    known = {suffix for kind in kinds() if kind.reader for suffix in kind.suffixes} | {".onnx", ".pt2"}
    models = [name for name in names if Path(name).suffix.lower() in known or name.endswith("saved_model.pb")]
    inside = f"that contains {', '.join(models[:3])}" if models else "without a model"
    return kind_of(f"a zip file {inside}", "unpack" if models else "", format="archive")


def _pickle(path: Path, head: bytes) -> FileKind | None:
    is_pickle = head[0] == 0x80 and head[1:2] in (b"\2", b"\3", b"\4", b"\5")
    if not is_pickle and path.suffix.lower() not in (".pkl", ".pickle", ".joblib"):
        return None
    for name, (library, advice) in PICKLES.items():
        if name in head:
            return kind_of(f"a pickle of {library}", advice, format="torch" if library == "PyTorch" else "")
    advice = "save the model as .onnx, .pt2 or .keras in the program that wrote it; loading a pickle can run any code"
    return kind_of("a pickle", advice, format="torch")


def _safetensors(_: Path, head: bytes) -> FileKind | None:
    length = int.from_bytes(head[:8], "little")
    if not (2 <= length <= 100 << 20 and head[8:9] == b"{" and b'"' in head[9:40]):
        return None
    return kind_of("a safetensors file with weights only", "torch")


def _by_name(path: Path, _: bytes) -> FileKind | None:
    """Return the kind of a file whose format has no signature, by its suffix or by the files beside it."""
    suffix = path.suffix.lower()
    if suffix in (".data", ".onnx_data", ".bin"):
        owner = next((near for near in path.parent.glob("*.onnx") if path.name.startswith(near.name)), None)
        if owner is not None:
            return kind_of(f"the external data of {owner.name}", f"give {owner.name}")
        for other, what in ((".param", "an ncnn"), (".xml", "an OpenVINO")):
            if path.with_suffix(other).is_file():
                return kind_of(f"a file with the weights of {what} model", "original")
    if ".data-" in path.suffix:
        return kind_of("a part of a TensorFlow checkpoint with weights only", "checkpoint")
    return next((kind for kind in kinds() if not kind.starts and suffix in kind.suffixes), None)


def _onnx(path: Path, head: bytes) -> FileKind | None:
    """Return the kind of an ONNX model, or None if the file does not begin with the IR version and another field."""
    if len(head) < 3 or head[0] != IR_VERSION or head[1] not in range(3, 32) or head[2] not in ONNX_FIELDS:
        return None
    if path.suffix.lower() == ".mlmodel":  # A CoreML model begins in the same way.
        return None
    return _cut_protobuf(path, "an ONNX model") or kind_of(
        "an ONNX model", reader="import", format="onnx", suffixes=(".onnx",)
    )


def _saved_model(path: Path, head: bytes) -> FileKind | None:
    if path.name != "saved_model.pb" or head[:1] != b"\x08":
        return None
    folder = path.absolute().parent.name
    return _cut_protobuf(path, "a SavedModel") or kind_of("the graph of a SavedModel", f"give its folder, {folder}")


def _cut_protobuf(path: Path, what: str) -> FileKind | None:
    """Return the kind of a file whose Protocol Buffers message is truncated, or None if the message is complete."""
    with path.open("rb") as stream:
        needed = _protobuf_size(stream)
    size = path.stat().st_size
    return cut_off(what, f"it has {size} of at least {needed} bytes") if needed > size else None


def _protobuf_size(stream: BinaryIO) -> int:
    """Return the length in bytes that a Protocol Buffers message must have according to the sizes of its fields."""
    end = stream.seek(0, 2)
    position = stream.seek(0)
    while position < end:
        wire = _varint(stream) & 7
        if wire == 0:
            _varint(stream)
        elif wire in (1, 5):
            stream.seek(8 if wire == 1 else 4, 1)
        elif wire == 2:
            stream.seek(_varint(stream), 1)
        else:
            break
        position = stream.tell()
    return position


def _varint(stream: BinaryIO) -> int:
    """Read an integer of variable length. Each byte contains 7 bits, and the lowest bits come first."""
    value = shift = 0
    while (byte := stream.read(1)) and shift < 64:
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            break
        shift += 7
    return min(value, 1 << 48)

"""Files that users often pass to commands for models or bundles, but that these commands cannot read."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
from keras import layers

from helpers import factories, networks
from helpers.bundles import BUNDLES
from orilla.runtime.bundle.bundle import Bundle

Writer = Callable[[Path], Path]
"""A function that writes a file into an empty folder, and returns its path."""

HTML = b"<!DOCTYPE html>\n<html><head><title>GitHub</title></head><body>Sign in</body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 13978321\n"


def content(name: str, data: bytes | str) -> Writer:
    """Return a writer of a file with this content."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def archive(name: str, **members: bytes) -> Writer:
    """Return a writer of a zip file. In the names of members, `__` stands for `/` and `_dot_` for a dot."""
    return content(name, zipped({key.replace("__", "/").replace("_dot_", "."): data for key, data in members.items()}))


def zipped(members: dict[str, bytes]) -> bytes:
    """Return the bytes of a zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return stream.getvalue()


def tflite() -> bytes:
    """Return a small `.tflite` file."""
    animals = Bundle.open(BUNDLES / "animals.orilla")
    return animals.read(animals.manifest.variant("litert_fp32").file)


def onnx_file(name: str, change: Callable[[onnx.ModelProto], None] | None = None, **options: object) -> Writer:
    """Return a writer of a small `.onnx` file. `change` changes the model before it is written."""

    def write(folder: Path) -> Path:
        path = networks.small_onnx(folder / name, **options)  # type: ignore[arg-type]
        if change is not None:
            model = onnx.load(path)
            change(model)
            onnx.save(model, path)
        return path

    return write


def keras_file(name: str, share: float = 1.0) -> Writer:
    """Return a writer of a small Keras model that keeps only a share of the bytes."""

    def write(folder: Path) -> Path:
        net = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
        net.save(folder / name)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])
        return folder / name

    return write


def keras_weights(name: str) -> Writer:
    """Return a writer of the weights of a small Keras model."""

    def write(folder: Path) -> Path:
        net = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
        net.save_weights(folder / name)
        return folder / name

    return write


def old_weights(folder: Path) -> Path:
    """Write weights as `save_weights` of Keras 2 does."""
    with h5py.File(folder / "net.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        file.create_group("dense").attrs["weight_names"] = np.array([b"dense/kernel:0"])
    return folder / "net.h5"


def not_keras(folder: Path) -> Path:
    """Write an HDF5 file with measurements."""
    with h5py.File(folder / "net.h5", "w") as file:
        file["measured"] = np.zeros(8)
    return folder / "net.h5"


def tar(folder: Path) -> Path:
    """Write a `.tar` file with a model."""
    with tarfile.open(folder / "net.tar", "w") as file:
        info = tarfile.TarInfo("net.onnx")
        file.addfile(info)
    return folder / "net.tar"


def files(*names: str, data: bytes = b"x" * 64) -> Writer:
    """Return a writer of a folder `net` that contains files with these names."""

    def write(folder: Path) -> Path:
        for name in names:
            path = folder / "net" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "net").mkdir(exist_ok=True)
        return folder / "net"

    return write


def pictures(folder: Path) -> Path:
    """Write a folder with folders of images."""
    for name in ("cat", "dog"):
        factories.write_picture(folder / "net" / name / "0.png", factories.picture())
    return folder / "net"


def safetensors(name: str) -> Writer:
    """Return a writer of a `.safetensors` file."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return content(name, struct.pack("<Q", len(header)) + header + bytes(4))


def with_external_data(folder: Path) -> Path:
    """Write an ONNX model with external data, and return the path of the data."""
    model = onnx.load(networks.small_onnx(folder / "net.onnx"))
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return folder / "net.onnx.data"


def beside(neighbour: str, name: str) -> Writer:
    """Return a writer of a file of unknown content, next to another file."""

    def write(folder: Path) -> Path:
        content(neighbour, b"x")(folder)
        return content(name, b"\xff\xfe\0")(folder)

    return write


def missing(name: str, *near: str) -> Writer:
    """Return the path of a file that does not exist. Other files may be in its folder."""

    def write(folder: Path) -> Path:
        for other in near:
            (folder / other).write_bytes(b"x")
        return folder / name

    return write


PICKLED = {
    "sklearn": b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x15sklearn.linear_model._base\x94\x8c\x10LinearRegression\x94.",
    "xgboost": b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x0fxgboost.sklearn\x94\x8c\x0dXGBClassifier\x94.",
    "other": pickle.dumps({"weights": [1, 2, 3]}),
    "torch": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
}

TEXTS = {
    "lfs": POINTER,
    "html": HTML,
    "github": b"404: Not Found",
    "huggingface": b"Entry not found",
    "github_api": b'{"message": "Not Found", "documentation_url": "https://docs.github.com"}',
    "s3": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "zeros": bytes(4096),
    "noise": np.random.default_rng(1).bytes(4096),
    "empty": b"",
}
"""Contents that a failed download can leave instead of the requested file."""

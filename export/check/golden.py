"""Golden data: samples with known answers, as a bundle stores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export import samples
from orilla.export.samples import Inputs
from orilla.export.source_model import SourceModel
from orilla.runtime.bundle.golden import pack, raw_digest
from orilla.runtime.bundle.manifest import Golden
from orilla.runtime.preprocessing.preprocessor import RawInput
from orilla.runtime.preprocessing.tensor import TensorPreprocess

JPEG_QUALITY = 92
"""JPEG quality of golden frames, which is typical of cameras."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Raw inputs as a bundle stores them. Some of them become golden data."""

    stored: list[tuple[bytes, RawInput]]
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class GoldenData:
    """Golden data of a bundle."""

    files: dict[str, bytes]
    entries: tuple[Golden, ...]
    inputs: Inputs
    outputs: NDArray[np.float32]


def candidates(raws: Sequence[tuple[str, RawInput]], source: SourceModel) -> Candidates:
    """Store raw inputs and read them back, as a device will read them."""
    stored = [_store(raw, name, source) for name, raw in raws]
    prepared = [samples.named(source, source.preprocessor(raw)) for _, raw in stored]
    return Candidates(stored, {name: np.stack([one[name] for one in prepared]) for name in prepared[0]})


def golden(source: SourceModel, given: Candidates, outputs: NDArray[np.float32], count: int) -> GoldenData:
    """Return the files of `count` candidates with the answers of the original model."""
    stored, inputs = given.stored, given.inputs
    if source.task in ("classify", "text"):
        chosen = samples.clear(outputs, count)
        stored, outputs = [stored[place] for place in chosen], outputs[chosen]
        inputs = {name: array[chosen] for name, array in inputs.items()}
    suffix, prepared_suffix = {
        "image": (".jpg", ".prepared.png"),
        "text": (".txt", ".tokens.npy"),
        "tensor": (".npy", ".npy"),
    }[source.preprocessor.kind]
    files: dict[str, bytes] = {}
    entries = []
    for index, (data, raw) in enumerate(stored):
        stem = f"golden/{index:03d}"
        one = samples.row(inputs, index)
        files[f"{stem}{suffix}"] = data
        if source.preprocessor.kind != "tensor":
            files[f"{stem}{prepared_suffix}"] = (
                pack(np.asarray(one)) if source.preprocessor.is_text else _png(np.asarray(one))
            )
        files[f"{stem}.output.npy"] = pack(outputs[index])
        digest = raw_digest(_packed(source, raw) if source.preprocessor.kind == "tensor" else raw)
        entries.append(Golden(f"{stem}{suffix}", digest, f"{stem}{prepared_suffix}", f"{stem}.output.npy"))
    return GoldenData(files, tuple(entries), inputs, outputs)


def _packed(source: SourceModel, raw: RawInput) -> NDArray[np.float64]:
    spec = source.preprocessor.spec
    assert isinstance(spec, TensorPreprocess)
    assert not isinstance(raw, np.ndarray | str)
    return spec.pack(raw)


def _store(raw: RawInput, name: str, source: SourceModel) -> tuple[bytes, RawInput]:
    """Return a raw input as a bundle stores it, and the decoded result."""
    if isinstance(raw, str):
        return raw.encode(), raw
    if not isinstance(raw, np.ndarray):
        return pack(_packed(source, raw)), raw
    ok, jpeg = cv2.imencode(".jpg", raw, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        msg = f"cannot store {name} as a golden frame"
        raise DataError(msg)
    decoded = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    assert decoded is not None
    return jpeg.tobytes(), decoded


def _png(image: NDArray[np.uint8]) -> bytes:
    data: bytes = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    return data


def half(answer: NDArray[np.float32]) -> NDArray[np.generic]:
    """Return an answer as float16 if its values are probabilities, else unchanged."""
    return answer.astype(np.float16) if float(np.abs(answer).max()) <= 1.0 else answer

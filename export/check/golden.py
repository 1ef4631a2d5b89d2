"""Golden data: samples with the original model's answers, as a bundle stores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export.data.draw import all_items, balanced
from orilla.export.data.open import open_samples
from orilla.export.data.prepared import Inputs, by_input, row
from orilla.export.source_model import SourceModel
from orilla.runtime.bundle.golden import pack, raw_digest
from orilla.runtime.bundle.manifest import Golden
from orilla.runtime.evaluation.datasets import Dataset, LabelledImage, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.evaluation.datasets.raw import raw_of
from orilla.runtime.frame import Line
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor, RawInput
from orilla.runtime.preprocessing.tensor import TensorPreprocess
from orilla.runtime.sources.text_lines import Lines
from orilla.runtime.tasks.classify import class_scores

JPEG_QUALITY = 92
"""JPEG quality of golden frames, which is typical of cameras."""

MIN_SCORE = 0.6
"""Minimum score of a golden sample's best class. A closer decision may differ on another processor."""

CANDIDATES = 3
"""Candidates for each golden sample of a classifier."""

MAX_COMPARED = 40
"""Number of images, about, whose masks are compared to choose golden samples of a segmentation."""

SUFFIXES = {"image": (".jpg", ".prepared.png"), "text": (".txt", ".tokens.npy"), "tensor": (".npy", ".npy")}
"""Suffixes of the files with a raw and a prepared sample, by kind of input."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Raw samples as a bundle stores them. Some of them become golden data."""

    stored: list[tuple[bytes, RawInput]]
    """Content of each sample's file, and the sample as it is read back."""
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class GoldenData:
    """Golden data of a bundle."""

    files: dict[str, bytes]
    entries: tuple[Golden, ...]
    inputs: Inputs
    outputs: NDArray[np.float32]
    """Answers of the original model, `[N,...]`."""


def raw_samples(
    spec: str | None, dataset: Dataset, items: Sequence[Item], source: SourceModel, count: int
) -> list[tuple[str, RawInput]]:
    """Return raw samples for golden data, by name.

    They come from the validation data, or from `spec` if the validation data may not be redistributed. There are
    `CANDIDATES` times as many as golden samples for a classifier, so that clear decisions can be chosen.

    Args:
        spec: A data set whose labels are not used, as `scenes`, or a file with one text per line.
        dataset: The validation data.
        items: Its samples.
        source: The model.
        count: Number of golden samples.

    Raises:
        DataError: There is no usable sample.
    """
    if spec is not None and source.preprocessor.is_text and Path(spec).is_file() and Path(spec).suffix == ".txt":
        return _texts(spec)
    origin = dataset if spec is None else open_samples(spec, source)
    pool = list(items) if spec is None else all_items(origin)
    if origin.has_labels and origin.task == "segment" and set(source.labels) <= set(origin.classes):
        chosen = _by_share(origin, pool, source.labels[0], count)
    else:
        chosen = balanced(origin, pool, count if source.task in ("segment", "tensor") else CANDIDATES * count, 0)
    loaded = (origin.load(*item) for item in chosen)
    return [(sample.name, _raw(sample, source.preprocessor)) for sample in loaded]


def _texts(spec: str) -> list[tuple[str, RawInput]]:
    lines = [line for line in iter(Lines.open(spec).read, None) if isinstance(line, Line)]
    if not lines:
        msg = f"golden texts {spec}: the file is empty"
        raise DataError(msg)
    return [(f"line {line.index + 1}", line.text) for line in lines]


def _raw(sample: Sample, preprocessor: InputPreprocessor) -> RawInput:
    raw = raw_of(sample)
    if isinstance(preprocessor.spec, TensorPreprocess) and not isinstance(raw, np.ndarray | str):
        return preprocessor.spec.check(next(iter(raw.values())) if len(raw) == 1 else raw)
    return raw


def _by_share(dataset: Dataset, items: Sequence[Item], label: str, count: int) -> list[Item]:
    """Return images, evenly spaced from the smallest to the largest share of the class `label`."""
    target = dataset.classes.index(label)
    shares = []
    for place in range(0, len(items), max(1, len(items) // MAX_COMPARED)):
        sample = dataset.load(*items[place])
        assert isinstance(sample, LabelledImage)
        shares.append((float(np.mean(sample.labels == target)), place))
    shares.sort()
    places = np.linspace(0, len(shares) - 1, min(count, len(shares))).round().astype(int)
    return [items[shares[place][1]] for place in dict.fromkeys(places.tolist())]


def candidates(raws: Sequence[tuple[str, RawInput]], source: SourceModel) -> Candidates:
    """Store raw samples and read them back, as a device will read them."""
    stored = [_store(raw, name, source) for name, raw in raws]
    prepared = [by_input(source, source.preprocessor(raw)) for _, raw in stored]
    return Candidates(stored, {name: np.stack([sample[name] for sample in prepared]) for name in prepared[0]})


def choose_golden(source: SourceModel, candidates: Candidates, outputs: NDArray[np.float32], count: int) -> GoldenData:
    """Return the files of `count` candidates with the answers of the original model.

    Args:
        source: The original model.
        candidates: The samples to choose from.
        outputs: Answers of the original model to the candidates, `[N,...]`.
        count: Number of golden samples of a classifier. Other tasks take every candidate.
    """
    stored, inputs = candidates.stored, candidates.inputs
    if source.task in ("classify", "text"):
        chosen = clear_decisions(outputs, count)
        stored, outputs = [stored[place] for place in chosen], outputs[chosen]
        inputs = {name: array[chosen] for name, array in inputs.items()}
    kind = source.preprocessor.kind
    raw_suffix, prepared_suffix = SUFFIXES[kind]
    files: dict[str, bytes] = {}
    entries = []
    for index, (data, raw) in enumerate(stored):
        stem = f"golden/{index:03d}"
        files[f"{stem}{raw_suffix}"] = data
        if kind != "tensor":
            prepared = np.asarray(row(inputs, index))
            files[f"{stem}{prepared_suffix}"] = pack(prepared) if kind == "text" else _png(prepared)
        files[f"{stem}.output.npy"] = pack(outputs[index])
        digest = raw_digest(_packed(source, raw) if kind == "tensor" else raw)
        entries.append(Golden(f"{stem}{raw_suffix}", digest, f"{stem}{prepared_suffix}", f"{stem}.output.npy"))
    return GoldenData(files, tuple(entries), inputs, outputs)


def clear_decisions(outputs: NDArray[np.float32], count: int) -> list[int]:
    """Choose the golden samples of a classifier.

    The choice has equally many samples of each class, and only samples with a clear decision, evenly spaced from the
    hardest to the easiest. If too few decisions are clear, it takes the clearest ones.

    Args:
        outputs: Answers of the original model, `[N,classes]` or `[N,1]`.
        count: Number of samples to choose.
    """
    scores = class_scores(outputs)
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    order = np.argsort(best, kind="stable")
    clear = order[best[order] >= MIN_SCORE]
    if len(clear) < count:
        return sorted(order[-count:].tolist())
    of_class = [clear[classes[clear] == label] for label in np.unique(classes[clear])]
    shares = [0] * len(of_class)
    while sum(shares) < count:
        for place, members in enumerate(of_class):
            if sum(shares) < count and shares[place] < len(members):
                shares[place] += 1
    chosen: list[int] = []
    for members, share in zip(of_class, shares, strict=True):
        chosen += members[np.linspace(0, len(members) - 1, share).round().astype(int)].tolist()
    return sorted(chosen)


def _packed(source: SourceModel, raw: RawInput) -> NDArray[np.float64]:
    spec = source.preprocessor.spec
    assert isinstance(spec, TensorPreprocess)
    assert not isinstance(raw, np.ndarray | str)
    return spec.pack(raw)


def _store(raw: RawInput, name: str, source: SourceModel) -> tuple[bytes, RawInput]:
    """Return the content of a raw sample's file, and the sample as it is read back."""
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

"""Proof on the device: does this machine compute what was exported, and which stage differs first where it doesn't."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, OrillaError
from orilla.runtime.accuracy import overlaps, summarise
from orilla.runtime.bundle import Bundle
from orilla.runtime.datasets import Dataset, LabelledImage
from orilla.runtime.engines import registry
from orilla.runtime.manifest import Golden, Variant
from orilla.runtime.preprocess import Preprocessor
from orilla.runtime.session import Session
from orilla.runtime.tasks.segment import decode

RESIZE_MEAN = 0.5
"""Grey levels by which prepared pictures may differ on average: bilinear resizing differs by 1 on a quarter of the
values between x86-64 and Arm."""

RESULT_SLACK = 0.01
"""Agreement that masks of the whole path may lose beside the network's own tolerance, for the resize."""

METRIC_SLACK = 0.5
"""Points by which a metric may be below what export measured, on the same data."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the path, compared with the golden data."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class VariantVerdict:
    """What was found of one variant."""

    variant: str
    engine: str
    passed: bool
    skipped: str | None
    """Why it was not run; None where it was."""
    first_difference: str | None
    """The first stage that differs from the export."""
    stages: tuple[Stage, ...]
    metrics: dict[str, float]
    """On the data given, empty without."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A golden frame, read from the bundle."""

    image: NDArray[np.uint8]
    intact: bool
    prepared: NDArray[np.uint8]
    output: NDArray[np.float32]


def verify(bundle: Bundle, variants: tuple[Variant, ...], dataset: Dataset | None = None) -> list[VariantVerdict]:
    """Compares each variant's stages with the golden data, and its accuracy with the export's where data is given."""
    known = [_read(bundle, golden) for golden in bundle.manifest.golden]
    if not known:
        raise BundleError(f"{bundle.path.name} holds no golden frames: there is nothing to verify against")
    return [_verify_variant(bundle, variant, known, dataset) for variant in variants]


def _verify_variant(bundle: Bundle, variant: Variant, known: list[_Known], dataset: Dataset | None) -> VariantVerdict:
    if variant.engine in registry.ENGINES and not registry.installed(variant.engine):
        reason = f"engine {variant.engine} is not installed: pip install {registry.ENGINES[variant.engine].install}"
        return VariantVerdict(variant.name, variant.engine, True, reason, None, (), {})
    try:
        session = registry.load(bundle, variant)
    except OrillaError as error:
        failed = Stage("load", False, str(error))
        return VariantVerdict(variant.name, variant.engine, False, None, "load", (failed,), {})
    stages = [_decode_stage(known), _resize_stage(bundle, known), *_infer_stages(bundle, variant, session, known)]
    metrics: dict[str, float] = {}
    if dataset is not None:
        metrics, stage = _accuracy_stage(bundle, variant, session, dataset)
        stages.append(stage)
    session.close()
    first = next((stage.name for stage in stages if not stage.passed), None)
    return VariantVerdict(variant.name, session.engine, first is None, None, first, tuple(stages), metrics)


def _read(bundle: Bundle, golden: Golden) -> _Known:
    image = cv2.imdecode(np.frombuffer(bundle.read(golden.image), np.uint8), cv2.IMREAD_COLOR)
    prepared = cv2.imdecode(np.frombuffer(bundle.read(golden.prepared), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or prepared is None:
        raise BundleError(f"golden frame {golden.image} cannot be decoded")
    try:
        output = np.load(io.BytesIO(bundle.read(golden.output)), allow_pickle=False)
    except ValueError as error:
        raise BundleError(f"golden output {golden.output} cannot be read: {error}") from error
    intact = hashlib.sha256(image.tobytes()).hexdigest() == golden.pixels_sha256
    return _Known(image, intact, prepared, output)


def _decode_stage(known: list[_Known]) -> Stage:
    intact = sum(one.intact for one in known)
    return Stage("decode", intact == len(known), f"{intact} of {len(known)} golden frames decode to the same pixels")


def _resize_stage(bundle: Bundle, known: list[_Known]) -> Stage:
    prepare = Preprocessor(bundle.manifest.preprocess)
    levels = [float(np.abs(prepare(one.image).astype(int) - one.prepared).mean()) for one in known]
    return Stage("resize", max(levels) <= RESIZE_MEAN, f"prepared pictures differ by {max(levels):.3f} grey levels")


def _infer_stages(bundle: Bundle, variant: Variant, session: Session, known: list[_Known]) -> list[Stage]:
    prepare, label, allowed = Preprocessor(bundle.manifest.preprocess), bundle.manifest.labels[0], variant.tolerance
    try:
        outputs = np.stack([session.run(one.prepared)[0] for one in known])
        whole = np.stack([session.run(prepare(one.image))[0] for one in known])
    except (OrillaError, RuntimeError, ValueError) as failure:
        return [Stage("infer", False, str(failure).splitlines()[0])]
    golden = np.stack([one.output for one in known])
    if outputs.shape != golden.shape:
        return [Stage("infer", False, f"output is {list(outputs.shape[1:])}, golden {list(golden.shape[1:])}")]
    error = np.abs(outputs - golden).reshape(len(golden), -1)
    mean, worst = float(error.mean(axis=1).max()), float(error.max())
    same = float(((outputs >= 0.5) == (golden >= 0.5)).reshape(len(golden), -1).mean(axis=1).min())
    close = mean <= allowed.mean_error and worst <= allowed.max_error and same >= allowed.agreement
    detail = f"mean error {mean:.5f} (<= {allowed.mean_error:.5f}), max {worst:.4f} (<= {allowed.max_error:.4f})"
    detail += f", agreement {same:.5f} (>= {allowed.agreement:.5f})"
    masks = [
        float(np.mean(decode(one, size, label).mask == decode(other, size, label).mask))
        for one, other, size in zip(whole, golden, [known_one.image.shape[:2] for known_one in known], strict=True)
    ]
    # From the raw frame on, the resize's own slack comes on top of the network's.
    least = allowed.agreement - RESULT_SLACK
    result = Stage("result", min(masks) >= least, f"masks agree on {min(masks):.5f} (>= {least:.5f}) of the pixels")
    return [Stage("infer", bool(np.isfinite(outputs).all()) and close, detail), result]


def _accuracy_stage(
    bundle: Bundle, variant: Variant, session: Session, dataset: Dataset
) -> tuple[dict[str, float], Stage]:
    """Accuracy on data; held to the export's figure where it is the same data, else only told."""
    manifest = bundle.manifest
    prepare, label = Preprocessor(manifest.preprocess), manifest.labels[0]

    def predict(sample: LabelledImage) -> NDArray[np.bool_]:
        return decode(session.run(prepare(sample.image)), sample.labels.shape, label).mask

    split = "val" if "val" in dataset.splits else dataset.splits[-1]
    metrics = summarise(overlaps(dataset, split, label, predict))
    same = dataset.digest(split) == manifest.report.sha256 and len(dataset.names(split)) == manifest.report.count
    points = 100 * (variant.check.metrics["iou"] - metrics["iou"])
    detail = f"IoU {metrics['iou']:.4f} on {dataset.source.name} {split}"
    detail += f", {variant.check.metrics['iou']:.4f} at export" if same else " (not the data of the export)"
    return metrics, Stage("accuracy", not same or points <= METRIC_SLACK, detail)

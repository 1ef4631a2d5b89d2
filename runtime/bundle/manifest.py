"""The manifest: the contract inside a bundle. `docs/bundle-format.md` states its rules."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from orilla.devices.errors import BundleError, unknown_name
from orilla.runtime.bundle.card import Card
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.tensor import TensorPreprocess
from orilla.runtime.preprocessing.text import TextPreprocess
from orilla.runtime.tasks.task import FIRST_METRIC, Task

NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}", re.ASCII)
"""Of a variant: names are file names, and words of commands on other machines."""

SCHEMA = 4
"""The version that this reader understands."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle: read only when size and hash agree."""

    size: int
    sha256: str


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a variant may be, on another machine, from what it answered at export, in any one frame."""

    mean_error: float
    """Mean absolute difference of the outputs."""
    max_error: float
    agreement: float
    """Least share of equal decisions, 0-1."""


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What export measured of a variant against the original model, on the validation data."""

    metrics: dict[str, float]
    """Of the variant itself, e.g. `iou`, 0-1."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the first metric."""
    drop: float
    """Of the first metric, in points (hundredths), against the original; negative where the variant is better."""
    agreement: float
    """Share of the original's decisions that are equal, 0-1."""
    mean_error: float
    max_error: float
    sqnr_db: float | None
    """Signal to quantisation noise of the outputs, 10 log10 of the ratio of their mean squares; None where equal."""
    saturated: float
    """Share of output values that the variant's range cuts off, 0-1."""
    sum_error: float | None
    """How far the probabilities of a sample are from a sum of one, at most; None where they need not sum to it."""
    count: int
    """Samples; fewer than the report's for a variant that is too slow for all."""


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time of one inference where the bundle was made; another machine is another matter."""

    p50_ms: float
    p90_ms: float | None
    """None where too few were timed."""
    count: int


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model file, made by one recipe."""

    name: str
    """The recipe's name."""
    file: str
    engine: str
    check: Check
    golden: tuple[str, ...]
    """`.npy` float16: what this variant answered at export to each golden frame, prepared."""
    tolerance: Tolerance
    latency: Latency | None = None
    compiled: str | None = None
    """What Coral's compiler made of `file`, for the Edge TPU; None where it was not asked."""

    @property
    def full_precision(self) -> bool:
        """Whether its recipe keeps weights and activations as they were trained."""
        return self.name.partition("_")[2].startswith("fp32")

    @property
    def files(self) -> tuple[str, ...]:
        """All of the bundle's files that belong to it alone."""
        return (self.file, *self.golden, *((self.compiled,) if self.compiled is not None else ()))


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One known answer: a raw frame and what the original model makes of it."""

    raw: str
    """The raw frame as it is stored: a JPEG, a UTF-8 text, or a sample of arrays as `.npy` float64."""
    raw_sha256: str
    """Of the decoded raw frame: BGR bytes in row order, UTF-8, or the packed arrays' bytes."""
    prepared: str
    """The network's input: a PNG in the network's channel order stored as RGB, tokens as `.npy` int32, or packed arrays
    as `.npy` float64."""
    output: str
    """`.npy` float32, the original's output."""


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the variants were checked."""

    data: str
    """Name of the validation data."""
    sha256: str
    """Of its split."""
    count: int
    calibration: str
    calibration_count: int
    calibration_sha256: str
    metrics: dict[str, float]
    """Of the original model."""
    truth: Literal["labels", "original"]
    """What the metrics are against: labels of the data, or, where it has none, the original's own answers."""
    calibration_seed: int
    timed_on: str | None = None
    """Machine and threads of the latencies; None where nothing was timed."""
    failed: dict[str, str] = {}
    """Recipes that could not be made, with the reason."""
    not_applicable: dict[str, str] = {}
    """Recipes that are not for this model, with the reason."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifest.json`."""

    schema: int
    name: str
    task: Task
    labels: tuple[str, ...]
    """Names of the classes; for a two-class segmentation the one that the probability is of."""
    preprocess: Preprocess | TextPreprocess | TensorPreprocess
    variants: tuple[Variant, ...]
    default: str
    """The variant that runs where nothing else is asked for."""
    golden: tuple[Golden, ...]
    card: Card | None
    """None where the model was not trained by Orilla."""
    report: Report
    files: dict[str, FileEntry]
    """Every file of the bundle but the manifest, by its path."""
    vocabulary: str | None = None
    """Of a text model: the file of its words."""

    def variant(self, name: str) -> Variant:
        """The variant of that name; an unknown one lists the known."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        msg = "variant"
        raise unknown_name(msg, name, [variant.name for variant in self.variants])


def encode(manifest: Manifest) -> bytes:
    """The same bytes for the same manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1) + b"\n"


def decode(data: bytes) -> Manifest:
    """Reads `manifest.json` strictly.

    Raises:
        BundleError: another schema version, an unknown or missing key, a value of another type, a dangling name.
    """
    try:
        version = msgspec.json.decode(data, type=_Version).schema
    except msgspec.DecodeError as error:
        msg = f"manifest.json is damaged: {error}"
        raise BundleError(msg) from error
    if version != SCHEMA:
        msg = f"bundle schema {version} is not known: this version of orilla reads schema {SCHEMA}"
        raise BundleError(msg)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        msg = f"manifest.json breaks its schema: {error}"
        raise BundleError(msg) from error
    _check_names(manifest)
    return manifest


class _Version(msgspec.Struct):
    schema: int


def _check_names(manifest: Manifest) -> None:
    names = [variant.name for variant in manifest.variants]
    if manifest.default not in names:
        msg = f"manifest.json: default variant {manifest.default!r} is not among {', '.join(names)}"
        raise BundleError(msg)
    for name in names:
        if not NAME.fullmatch(name):
            msg = f"manifest.json: a variant can't be called {name[:60]!r}"
            raise BundleError(msg)
    if len(set(names)) != len(names):
        msg = "manifest.json: two variants have the same name"
        raise BundleError(msg)
    if not manifest.labels and manifest.task != "tensor":
        msg = "manifest.json: labels are empty"
        raise BundleError(msg)
    spec = manifest.preprocess
    text = isinstance(spec, TextPreprocess)
    if text != (manifest.task == "text") or text != (manifest.vocabulary is not None):
        msg = f"manifest.json: task {manifest.task} does not fit its preprocess or vocabulary"
        raise BundleError(msg)
    if isinstance(spec, TensorPreprocess):
        if manifest.task not in ("tensor", "classify"):
            msg = f"manifest.json: task {manifest.task} does not fit its preprocess"
            raise BundleError(msg)
        _check_tensors(spec)
    elif manifest.task == "tensor":
        msg = "manifest.json: task tensor does not fit its preprocess"
        raise BundleError(msg)
    else:
        size = (spec.length,) if isinstance(spec, TextPreprocess) else spec.size_hw
        if not all(1 <= side <= 8192 for side in size):
            msg = f"manifest.json: input size {size} is out of range"
            raise BundleError(msg)
    named = [path for variant in manifest.variants for path in variant.files]
    metric = FIRST_METRIC[manifest.task]
    if any(metric not in variant.check.metrics for variant in manifest.variants):
        msg = f"manifest.json: a variant's check has no {metric}"
        raise BundleError(msg)
    if metric not in manifest.report.metrics:
        msg = f"manifest.json: the report has no {metric}"
        raise BundleError(msg)
    card = manifest.card
    if card is not None and (
        card.task != manifest.task
        or not card.measured
        or metric not in card.measured[0].metrics
        or metric not in card.measured[0].intervals
    ):
        msg = f"manifest.json: the card does not say the {metric} of a model for task {manifest.task}"
        raise BundleError(msg)
    named += [path for golden in manifest.golden for path in (golden.raw, golden.prepared, golden.output)]
    named += [manifest.vocabulary] if manifest.vocabulary is not None else []
    for path in named:
        if path not in manifest.files:
            msg = f"manifest.json names {path}, which its list of files lacks"
            raise BundleError(msg)


def _check_tensors(spec: TensorPreprocess) -> None:
    if not spec.inputs or not spec.outputs:
        msg = "manifest.json: a model of arrays has inputs and outputs"
        raise BundleError(msg)
    for side in (spec.inputs, spec.outputs):
        if len({one.name for one in side}) < len(side) or sum(one.size for one in side) > MAX_VALUES:
            msg = "manifest.json: arrays of the same name, or too large together"
            raise BundleError(msg)
    for one in (*spec.inputs, *spec.outputs):
        if (
            one.dtype not in DTYPES
            or len(one.shape) > MAX_AXES
            or not all(1 <= axis <= MAX_VALUES for axis in one.shape)
        ):
            msg = f"manifest.json: array {one.name} is {list(one.shape)[:9]} {one.dtype}: out of range"
            raise BundleError(msg)


DTYPES = ("float32", "float64", "int32", "int64", "uint8", "int8", "bool")
MAX_VALUES, MAX_AXES = 1 << 26, 8

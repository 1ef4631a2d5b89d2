"""The manifest: the contract inside a bundle. `docs/bundle-format.md` states its rules."""

from __future__ import annotations

import msgspec

from orilla.devices.errors import BundleError, unknown_name
from orilla.runtime.card import Card
from orilla.runtime.datasets.labelled import FIRST_METRIC, Task
from orilla.runtime.preprocess import Preprocess
from orilla.runtime.text import TextPreprocess

SCHEMA = 2
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
    drop: float
    """Of the first metric, in points (hundredths), against the original; negative where the variant is better."""
    agreement: float
    """Share of the original's decisions that are equal, 0-1."""
    mean_error: float
    max_error: float


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model file, made by one recipe."""

    name: str
    """The recipe's name."""
    file: str
    engine: str
    check: Check
    golden: tuple[str, ...]
    """`.npy` float16: what this variant answered at export to each golden frame, prepared."""
    tolerance: Tolerance


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One known answer: a raw frame and what the original model makes of it."""

    raw: str
    """The raw frame as it is stored: a JPEG, or a UTF-8 text."""
    raw_sha256: str
    """Of the decoded raw frame: BGR bytes in row order, or UTF-8."""
    prepared: str
    """The network's input: a PNG in the network's channel order stored as RGB, or tokens as `.npy` int32."""
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
    refused: dict[str, str] = {}
    """Recipes that could not be made, with the reason."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`manifest.json`."""

    schema: int
    name: str
    task: Task
    labels: tuple[str, ...]
    """Names of the classes; for a two-class segmentation the one that the probability is of."""
    preprocess: Preprocess | TextPreprocess
    variants: tuple[Variant, ...]
    default: str
    """The variant that runs where nothing else is asked for."""
    golden: tuple[Golden, ...]
    card: Card
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
        raise unknown_name("variant", name, [variant.name for variant in self.variants])


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
        raise BundleError(f"manifest.json is damaged: {error}") from error
    if version != SCHEMA:
        raise BundleError(f"bundle schema {version} is not known: this version of orilla reads schema {SCHEMA}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise BundleError(f"manifest.json breaks its schema: {error}") from error
    _check_names(manifest)
    return manifest


class _Version(msgspec.Struct):
    schema: int


def _check_names(manifest: Manifest) -> None:
    names = [variant.name for variant in manifest.variants]
    if manifest.default not in names:
        raise BundleError(f"manifest.json: default variant {manifest.default!r} is not among {', '.join(names)}")
    if len(set(names)) != len(names):
        raise BundleError("manifest.json: two variants have the same name")
    if not manifest.labels:
        raise BundleError("manifest.json: labels are empty")
    spec = manifest.preprocess
    text = isinstance(spec, TextPreprocess)
    if text != (manifest.task == "text") or text != (manifest.vocabulary is not None):
        raise BundleError(f"manifest.json: task {manifest.task} does not fit its preprocess or vocabulary")
    size = (spec.length,) if isinstance(spec, TextPreprocess) else spec.size_hw
    if not all(1 <= side <= 8192 for side in size):
        raise BundleError(f"manifest.json: input size {size} is out of range")
    named = [path for variant in manifest.variants for path in (variant.file, *variant.golden)]
    metric = FIRST_METRIC[manifest.task]
    if any(metric not in variant.check.metrics for variant in manifest.variants):
        raise BundleError(f"manifest.json: a variant's check has no {metric}")
    named += [path for golden in manifest.golden for path in (golden.raw, golden.prepared, golden.output)]
    named += [manifest.vocabulary] if manifest.vocabulary is not None else []
    for path in named:
        if path not in manifest.files:
            raise BundleError(f"manifest.json names {path}, which its list of files lacks")

"""The manifest of a bundle. `docs/bundle-format.md` describes its format."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from orilla.devices.errors import BundleError, ConfigError, unknown_name
from orilla.devices.gate import only_our_errors
from orilla.runtime.bundle.card import Card
from orilla.runtime.bundle.choices import Choice
from orilla.runtime.preprocessing import tensor_spec
from orilla.runtime.preprocessing.familiarity import Familiarity
from orilla.runtime.preprocessing.spec import Spec
from orilla.runtime.preprocessing.tensor_spec import TensorSpec
from orilla.runtime.tasks.decoding import PLAIN, Decoding
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.registry import TASKS, task_of
from orilla.runtime.tasks.task import DecodeContext

NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}", re.ASCII)
"""Pattern that variant names must match, because they become file names and arguments of remote commands."""

SCHEMA = 4
"""Schema version that this reader understands."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size and hash of a file in the bundle. Readers check both before they use the file."""

    size: int
    sha256: str


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Allowed difference, for each sample, between a variant's output at export and its output on another machine."""

    mean_error: float
    """Mean absolute difference of the outputs."""
    max_error: float
    agreement: float
    """Minimum share of equal decisions, 0–1."""


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Comparison of a variant with the original model on the validation data."""

    metrics: dict[str, float]
    """Metrics of the variant by name, such as `iou`, each from 0 to 1."""
    interval: tuple[float, float]
    """95 % bootstrap confidence interval of the primary metric."""
    drop: float
    """Drop of the primary metric compared with the original model, in percentage points. A negative value is a gain."""
    agreement: float
    """Share of decisions that equal the decisions of the original model, 0–1."""
    mean_error: float
    max_error: float
    sqnr_db: float | None
    """Signal-to-quantisation-noise ratio of the outputs in decibels: 10 log10 of the ratio of mean squares. None if the
    outputs equal those of the original model."""
    saturated: float
    """Share of output values that are clipped at the ends of the variant's output range, 0–1."""
    sum_error: float | None
    """Largest difference between 1 and a sample's sum of probabilities. None if the outputs need not sum to 1."""
    count: int
    """Number of samples that were checked. It is smaller than in the report if the variant is too slow to check all
    samples."""


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time of one inference on the exporting machine."""

    p50_ms: float
    p90_ms: float | None
    """90th percentile. None if too few inferences were timed."""
    count: int


class FileTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An input or output of a model file."""

    name: str
    """Name in the bundle. The input of an image or text model keeps its name in the model file."""
    shape: tuple[int, ...]
    """Shape with the batch axis. The size of an axis that is not fixed is 0."""
    dtype: str
    scale: float | None = None
    """Scale of the quantised numbers. None if the tensor is not quantised."""
    zero_point: int | None = None
    """Zero point of the quantised numbers. None if the tensor is not quantised."""
    layout: Literal["NHWC", "NCHW"] | None = None
    """Order of the axes of an image. None if the tensor is not an image."""
    file_name: str | None = None
    """Name in the model file. None if it equals `name`."""


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A variant: one model file that one recipe created."""

    name: str
    """Name of the recipe."""
    file: str
    format: str
    """Format of the file: `tflite` or `onnx`."""
    weights: str
    """Type of the weights, such as `float32` or `int8`."""
    activations: str
    """Type of the activations, such as `float32` or `int8`."""
    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]
    check: Check
    golden: tuple[str, ...]
    """Files (`.npy`, float16) with this variant's outputs for the golden samples, which were recorded at export."""
    tolerance: Tolerance
    latency: Latency | None = None
    compiled: dict[str, str] = {}
    """The compiled file for each engine that needs one, such as `edgetpu`."""

    @property
    def full_precision(self) -> bool:
        """Return True if weights and activations are float32."""
        return self.weights == self.activations == "float32"

    @property
    def files(self) -> tuple[str, ...]:
        """Return the bundle's files that belong only to this variant."""
        return (self.file, *self.golden, *self.compiled.values())


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One golden sample: a raw input and the output of the original model for it."""

    raw: str
    """File with the raw input: a JPEG, UTF-8 text, or arrays as `.npy` float64."""
    raw_sha256: str
    """Hash of the decoded raw input: BGR bytes in row order, UTF-8, or the bytes of the packed arrays."""
    prepared: str
    """File with the network's input: a PNG whose channels have the network's order, tokens as `.npy` int32, or
    packed arrays as `.npy` float64."""
    output: str
    """File (`.npy`, float32) with the output of the original model."""


class SearchStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant that the search for an accurate int8 variant has checked."""

    variant: str
    """Name of the variant. Steps with the same name are versions of it; the bundle contains at most the best one."""
    change: str
    """Description in one line of how the variant was made."""
    drop: float
    """Drop of the primary metric compared with the original model, in percentage points."""
    count: int
    """Number of samples on which the variant was checked."""
    accepted: bool
    """True if the drop is not larger than the requested one."""


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The search for an int8 variant whose accuracy drops by at most `max_drop` points."""

    max_drop: float
    """Maximum drop of the primary metric that the user accepts, in percentage points."""
    steps: tuple[SearchStep, ...]
    """The checked variants in the order of the search, starting with plain int8."""
    complete: bool
    """False if the time limit ended the search."""


class WorstFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A validation sample on which an int8 variant and the original model disagree."""

    name: str
    agreement: float
    """Share of equal decisions, 0–1."""


class Recalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Effect of adding the worst samples to the calibration data."""

    count: int
    """Number of validation samples on which the drops were measured. The added samples are not among them."""
    drop_before: float
    drop_after: float
    """Drop of the primary metric on these samples, in percentage points, before and after the worst samples were
    added."""
    kept: bool
    """True if the bundle contains the new variant, because its drop is smaller."""


class WorstFrames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The validation samples on which an int8 variant and the original model disagree most."""

    variant: str
    """Name of the int8 variant."""
    frames: tuple[WorstFrame, ...]
    """The samples, starting with the worst."""
    missing_classes: tuple[str, ...]
    """Classes that occur in these samples, but not in the calibration samples."""
    recalibration: Recalibration | None = None
    """Effect of calibrating again with these samples. None if this was not done."""


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data on which the variants were checked, and the reference with which they were compared."""

    data: str
    """Name of the validation data."""
    sha256: str
    """SHA-256 (hex) of the validation split."""
    count: int
    calibration: str
    calibration_count: int
    calibration_sha256: str
    metrics: dict[str, float]
    """Metrics of the original model."""
    truth: Literal["labels", "original"]
    """Ground truth of the metrics: the labels or, for unlabelled data, the outputs of the original model."""
    calibration_seed: int
    timed_on: str | None = None
    """Machine and number of threads with which latencies were measured. None if they were not measured."""
    failed: dict[str, str] = {}
    """Reasons why recipes failed. The keys are the names of the recipes."""
    not_applicable: dict[str, str] = {}
    """Reasons why recipes do not apply to this model. The keys are the names of the recipes."""
    doubts: tuple[str, ...] = ()
    """Notes about the model that the user should check, one line each: probable errors in its description, and how a
    Keras 1 or 2 file was read."""
    choices: tuple[Choice, ...] = ()
    """Choices that the check cannot verify. Empty in bundles of older versions."""
    warning: str | None = None
    """Reason why the metrics of the original model are not credible, such as an accuracy at chance level. None if they
    are credible."""
    worst: WorstFrames | None = None
    """The samples on which int8 is worst. None if the user did not request them; the JSON key is then omitted."""
    search: Search | None = None
    """The search for an accurate int8 variant. None if there was no search; the JSON key is then omitted."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `manifest.json`."""

    schema: int
    name: str
    task: str
    labels: tuple[str, ...]
    """Class names. A single-class segmentation model has one name: the class whose probability it outputs."""
    preprocess: Spec
    outputs: tuple[TensorSpec, ...]
    """Outputs of the model, dequantised. Every variant has these outputs."""
    variants: tuple[Variant, ...]
    default: str
    """Name of the variant that runs if no other is requested."""
    golden: tuple[Golden, ...]
    card: Card | None
    """Card of the training run. None if Orilla did not train the model."""
    report: Report
    files: dict[str, FileEntry]
    """Every file of the bundle except the manifest. The keys are the paths."""
    vocabulary: str | None = None
    """Path of the file with the words of a text model."""
    head: HeadSpec | None = None
    """Layout of a detector's outputs. None for other tasks, whose manifests do not have this key."""
    decoding: Decoding = PLAIN
    """Settings that the task needs to decode the outputs of this model. The JSON key is omitted if all settings have
    their defaults."""
    familiarity: Familiarity | None = None
    """Statistics of the prepared calibration images, with which the loop recognises unfamiliar frames. None if the
    inputs
    are not images, if there is no calibration data, or if the bundle was made by an older version."""

    def variant(self, name: str) -> Variant:
        """Return a variant by name. If the name is unknown, raise `ConfigError` with a list of the known names."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise unknown_name(name, [variant.name for variant in self.variants], kind="variant")

    @property
    def context(self) -> DecodeContext:
        """Return the properties of the model that its task needs to decode outputs."""
        return DecodeContext(self.labels, self.preprocess, head=self.head, decoding=self.decoding)


def encode(manifest: Manifest) -> bytes:
    """Encode a manifest. The same manifest gives the same bytes."""
    document = msgspec.to_builtins(manifest, order="deterministic")
    for key, default in (("head", None), ("decoding", PLAIN), ("familiarity", None)):
        if getattr(manifest, key) == default:
            del document[key]
    for key in ("doubts", "choices", "warning", "worst", "search"):
        if not getattr(manifest.report, key):
            del document["report"][key]
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes) -> Manifest:
    """Decode `manifest.json` strictly.

    Raises:
        BundleError: The schema version is unknown, a key is unknown or missing, or a value or name is invalid.
    """
    with only_our_errors("manifest.json", BundleError):
        if (version := msgspec.json.decode(data, type=_Version).schema) != SCHEMA:
            msg = f"bundle schema {version} is unknown: this version of orilla reads schema {SCHEMA}"
            raise BundleError(msg)
        try:
            manifest = msgspec.json.decode(data, type=Manifest)
        except msgspec.DecodeError as error:
            msg = f"manifest.json does not match its schema: {error}"
            raise BundleError(msg) from error
        _check_names(manifest)
    return manifest


class _Version(msgspec.Struct):
    schema: int


def _check_names(manifest: Manifest) -> None:
    """Raise `BundleError` if a name is invalid or if parts of the manifest contradict each other."""
    if manifest.task not in TASKS:
        msg = (
            f"manifest.json: the task {manifest.task[:60]!r} is not one of {', '.join(TASKS)}; if a package adds it, "
            "install the package, and run `orilla doctor`"
        )
        raise BundleError(msg)
    _check_variants(manifest)
    _check_preprocess(manifest)
    _check_metrics(manifest)
    _check_files(manifest)


def _check_variants(manifest: Manifest) -> None:
    names = [variant.name for variant in manifest.variants]
    if manifest.default not in names:
        msg = f"manifest.json: default variant {manifest.default!r} is not among {', '.join(names)}"
        raise BundleError(msg)
    for name in names:
        if not NAME.fullmatch(name):
            msg = f"manifest.json: {name[:60]!r} is not a valid variant name"
            raise BundleError(msg)
    if len(set(names)) != len(names):
        msg = "manifest.json: two variants have the same name"
        raise BundleError(msg)
    if not manifest.labels and task_of(manifest.task).needs_labels:
        msg = "manifest.json: labels are empty"
        raise BundleError(msg)


def _check_preprocess(manifest: Manifest) -> None:
    spec, has_vocabulary = manifest.preprocess, manifest.vocabulary is not None
    if spec.input_kind not in task_of(manifest.task).input_kinds or spec.needs_vocabulary != has_vocabulary:
        msg = f"manifest.json: the keys preprocess and vocabulary are wrong for task {manifest.task}"
        raise BundleError(msg)
    declared = "the model has no outputs" if not manifest.outputs else tensor_spec.problem(manifest.outputs)
    if (problem := spec.problem() or declared or manifest.decoding.problem()) is not None:
        msg = f"manifest.json: {problem}"
        raise BundleError(msg)
    if manifest.familiarity is not None and (problem := manifest.familiarity.problem()) is not None:
        msg = f"manifest.json: {problem}"
        raise BundleError(msg)
    try:
        task_of(manifest.task).check_outputs(
            manifest.context, {output.name: output.shape for output in manifest.outputs}
        )
    except ConfigError as error:
        msg = f"manifest.json: {error}"
        raise BundleError(msg) from error


def _check_metrics(manifest: Manifest) -> None:
    metric = task_of(manifest.task).metric
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
        msg = f"manifest.json: the card is not for task {manifest.task}, or has no {metric}"
        raise BundleError(msg)


def _check_files(manifest: Manifest) -> None:
    named = [path for variant in manifest.variants for path in variant.files]
    named += [path for golden in manifest.golden for path in (golden.raw, golden.prepared, golden.output)]
    named += [manifest.vocabulary] if manifest.vocabulary is not None else []
    for path in named:
        if path not in manifest.files:
            msg = f"manifest.json refers to {path}, but its list of files does not contain it"
            raise BundleError(msg)

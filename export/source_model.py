"""Open the model to export: a run of `orilla train`, or a Keras model from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.errors import ConfigError, ConversionError, DataError, unknown_name
from orilla.devices.keras_rules import DEVICES
from orilla.export import model_info as facts_of
from orilla.export.convert import fork_server
from orilla.export.convert.input_adapter import INPUT_RANGES, InputAdapter, InputRange, write_adapter
from orilla.export.model_info import ModelInfo
from orilla.export.workspace import Workspace
from orilla.runtime.bundle.card import Card
from orilla.runtime.bundle.run_folder import VOCABULARY, read_run
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor, Spec
from orilla.runtime.preprocessing.tensor import TensorPreprocess, TensorSpec
from orilla.runtime.preprocessing.text import FIRST, TextPreprocess, decode_vocabulary
from orilla.runtime.tasks.task import FIRST_METRIC, Task


@dataclass(frozen=True, slots=True)
class ModelHints:
    """What the user must state about a model that Orilla did not train."""

    task: str | None = None
    labels: Path | None = None
    """File with one label per line."""
    input_range: str | None = None
    input: tuple[int, ...] | None = None
    vocabulary: Path | None = None
    device: str | None = None
    """Device that the model must run on, one of `devices.keras_rules.DEVICES`."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """The original model and everything that the export needs to know about it."""

    name: str
    model: Path
    """File that the converters load."""
    facts: ModelInfo
    task: Task
    labels: tuple[str, ...]
    """Class names; empty for a model of arrays."""
    named: bool
    """True if the user stated the labels. If not, a data set may name them."""
    preprocessor: InputPreprocessor
    vocabulary: bytes | None
    card: Card | None
    data: str | None
    """Data set of the training."""


def open_source_model(given: Path, hints: ModelHints, work: Workspace) -> SourceModel:
    """Open a run folder, a `.keras` or `.h5` file, or a SavedModel folder.

    Args:
        given: Path of the model.
        hints: What the user states about it.
        work: Folder for temporary files.

    Raises:
        ConfigError: A required statement is missing or wrong.
        DataError: The path is none of these.
        ConversionError: Keras cannot load the model.
    """
    if hints.device is not None and hints.device not in DEVICES:
        raise unknown_name(hints.device, DEVICES, kind="device")
    if (given / "card.json").is_file() or (given.is_dir() and not (given / "saved_model.pb").exists()):
        return _run(given, hints, work)
    if not given.exists():
        msg = f"no such model: {given}"
        raise DataError(msg)
    if given.is_file() and given.suffix not in (".keras", ".h5", ".hdf5"):
        msg = f"{given.name} is not a Keras model: export needs a float .keras, .h5 or SavedModel"
        raise DataError(msg)
    return _foreign(given, hints, work)


def _run(run: Path, hints: ModelHints, work: Workspace) -> SourceModel:
    card, settings = read_run(run)
    for name in ("task", "labels", "input_range", "input", "vocabulary"):
        if getattr(hints, name) is not None:
            msg = f"--{name.replace(chr(95), chr(45))} is only for models from elsewhere: {run} states it"
            raise ConfigError(msg)
    model = run / "model.keras"
    if not model.is_file():
        msg = f"not a run folder: {model} is missing; orilla train writes it"
        raise DataError(msg)
    vocabulary = _read_vocabulary(run / VOCABULARY) if card.task == "text" else None
    preprocessor = InputPreprocessor(settings.preprocess, decode_vocabulary(vocabulary) if vocabulary else ())
    return SourceModel(
        card.model,
        model,
        _facts(model, work, hints.device),
        card.task,
        card.labels,
        named=True,
        preprocessor=preprocessor,
        vocabulary=vocabulary,
        card=card,
        data=settings.data,
    )


def _foreign(given: Path, hints: ModelHints, work: Workspace) -> SourceModel:
    if hints.task is None:
        msg = f"the task of {given.name} is unknown: set `task` to one of {', '.join(FIRST_METRIC)}"
        raise ConfigError(msg)
    if hints.task not in FIRST_METRIC:
        raise unknown_name(hints.task, FIRST_METRIC, kind="task")
    task: Task = hints.task
    if hints.input_range is not None and hints.input_range not in INPUT_RANGES:
        raise unknown_name(hints.input_range, INPUT_RANGES, kind="input range")
    model = given.absolute()
    if hints.input is not None:
        model = _wrap(work, InputAdapter(str(given.absolute()), hints.input))
    facts = _facts(model, work, hints.device)
    pictures = task in ("classify", "segment") and _takes_pictures(facts)
    answer = _logits(facts) if task in ("classify", "text", "segment") else None
    input_range = _input_range(hints, facts, given) if pictures else None
    if input_range is None and hints.input_range is not None:
        msg = f"`input_range` is only for image models: {given.name} takes {_describe_inputs(facts)}"
        raise ConfigError(msg)
    if input_range is not None or answer is not None:
        wrap = InputAdapter(str(given.absolute()), hints.input, input_range, answer)  # type: ignore[arg-type]
        model = _wrap(work, wrap)
    spec, vocabulary = _spec(task, facts, hints, pictures=pictures)
    labels = _labels(task, facts, hints)
    preprocessor = InputPreprocessor(spec, decode_vocabulary(vocabulary) if vocabulary else ())
    return SourceModel(
        given.stem, model, facts, task, labels, hints.labels is not None, preprocessor, vocabulary, None, None
    )


ARRAYS = ("float32", "int32", "int64")
"""Array types that both formats support in every precision."""


def _wrap(work: Workspace, wrap: InputAdapter) -> Path:
    path = work.adapter
    write_adapter(path, wrap)
    return path


def _facts(model: Path, work: Workspace, device: str | None) -> ModelInfo:
    out = work.model_info
    fork_server.call("orilla.export.model_info:describe", model=str(model), out=str(out), device=device)
    facts = facts_of.read(out)
    if facts.unmapped:
        more = f" (and {len(facts.unmapped) - 1} more)" if len(facts.unmapped) > 1 else ""
        msg = f"{device} cannot run the model: {facts.unmapped[0]}{more}"
        raise ConversionError(msg)
    return facts


def _takes_pictures(facts: ModelInfo) -> bool:
    if len(facts.inputs) != 1:
        return False
    (given,) = facts.inputs
    return len(given.shape) == 3 and given.shape[-1] in (1, 3) and given.dtype.startswith(("float", "uint8", "int"))


def _input_range(hints: ModelHints, facts: ModelInfo, given: Path) -> InputRange:
    if hints.input_range is not None:
        return hints.input_range  # type: ignore[return-value]
    if facts.normalises or not facts.inputs[0].dtype.startswith("float"):
        return "0..255"
    ranges = ", ".join(INPUT_RANGES)
    msg = f"the value range of {given.name}'s training images is unknown: set `input_range` to one of {ranges}"
    raise ConfigError(msg)


def _logits(facts: ModelInfo) -> str | None:
    """Return the activation to add to a classifier that ends in logits, or None."""
    if facts.activation != "linear" or len(facts.outputs) != 1:
        return None
    return "sigmoid" if facts.outputs[0].shape[-1:] == (1,) else "softmax"


def _spec(task: Task, facts: ModelInfo, hints: ModelHints, *, pictures: bool) -> tuple[Spec, bytes | None]:
    if task == "text":
        if hints.vocabulary is None:
            msg = "a text model needs `vocabulary`, a file with one word per line, starting with that of token 3"
            raise ConfigError(msg)
        if len(facts.inputs) != 1 or len(facts.inputs[0].shape) != 1:
            msg = f"a text model takes tokens [T], but this one takes {_describe_inputs(facts)}"
            raise ConfigError(msg)
        vocabulary = _read_vocabulary(hints.vocabulary).replace(b"\r\n", b"\n")
        _check_words(hints.vocabulary, vocabulary)
        numbers = FIRST + len(decode_vocabulary(vocabulary))
        if facts.words is not None and numbers > facts.words:
            msg = f"{hints.vocabulary} gives {numbers} tokens, but the model's embedding has {facts.words} rows"
            raise ConfigError(msg)
        return TextPreprocess(length=facts.inputs[0].shape[0]), vocabulary
    if pictures:
        height, width, _ = facts.inputs[0].shape
        return Preprocess(size_hw=(height, width)), None
    if task == "segment":
        msg = f"a segmentation takes images [height,width,3], but this model takes {_describe_inputs(facts)}"
        raise ConfigError(msg)
    for one in facts.inputs:
        if one.dtype not in ARRAYS:
            msg = f"the input {one.name} is {one.dtype}: use {', '.join(ARRAYS)}, and cast inside the model"
            raise ConversionError(msg)
    inputs = tuple(TensorSpec(one.name, one.shape, one.dtype) for one in facts.inputs)
    outputs = tuple(TensorSpec(one.name, one.shape, "float32") for one in facts.outputs)
    if any(0 in one.shape for one in outputs):
        msg = f"an output of the model has no fixed shape: {', '.join(str(one) for one in outputs)}"
        raise ConversionError(msg)
    return TensorPreprocess(inputs, tuple(sorted(outputs, key=lambda one: one.name))), None


def _labels(task: Task, facts: ModelInfo, hints: ModelHints) -> tuple[str, ...]:
    if task == "tensor":
        if hints.labels is not None:
            msg = "`labels` is only for classifiers and segmentations, not for task=tensor"
            raise ConfigError(msg)
        return ()
    if len(facts.outputs) != 1:
        msg = f"task={task} needs a model with one output, but this one has {len(facts.outputs)}: use task=tensor"
        raise ConfigError(msg)
    shape = facts.outputs[0].shape
    named = _read_labels(hints.labels) if hints.labels is not None else ()
    if task == "segment":
        if len(shape) != 3 or shape[-1] != 1:
            msg = f"a segmentation outputs [height,width,1], the probability of one class, not {list(shape)}"
            raise ConfigError(msg)
        if len(named) > 1:
            msg = f"{hints.labels} has {len(named)} lines, but a segmentation of one class has one label"
            raise ConfigError(msg)
        return named or ("mask",)
    classes = 2 if shape == (1,) else shape[0] if len(shape) == 1 else 0
    if not classes:
        msg = f"a classifier outputs [classes], not {list(shape)}: use task=tensor for other outputs"
        raise ConfigError(msg)
    if named and len(named) != classes:
        msg = f"{hints.labels} has {len(named)} lines, but the model has {classes} classes"
        raise ConfigError(msg)
    return named or tuple(map(str, range(classes)))


def _describe_inputs(facts: ModelInfo) -> str:
    return ", ".join(f"{one.name} {list(one.shape)} {one.dtype}" for one in facts.inputs)


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read labels={path}: {error}"
        raise DataError(msg) from error
    if not lines or len(set(lines)) < len(lines):
        msg = f"labels={path} {'is empty' if not lines else 'contains a label twice'}"
        raise DataError(msg)
    return lines


def _check_words(path: Path, vocabulary: bytes) -> None:
    """Raise `ConfigError` if lines are special tokens instead of words. All token numbers would be shifted silently."""
    for number, line in enumerate(vocabulary.decode(errors="replace").removesuffix("\n").split("\n")[:8], start=1):
        if line in ("", *NO_WORDS):
            msg = (
                f"line {number} of {path} is {line!r}: give only words, starting with that of token 3; tokens 0, 1 "
                "and 2 are padding, start and unknown, and texts are padded in front"
            )
            raise ConfigError(msg)


NO_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[START]", "<pad>", "<unk>", "<oov>", "<PAD>", "<UNK>", "<OOV>")


def _read_vocabulary(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot read the vocabulary {path}: {error.strerror or error}"
        raise DataError(msg) from error

"""Open the model to export, which is a run folder of `orilla train` or a Keras model that Orilla did not train."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, ConversionError, DataError, unknown_name
from orilla.devices.keras_rules import DEVICES
from orilla.export import model_info
from orilla.export.choices import EVERYTHING, output_choices, preprocessing_choices
from orilla.export.convert import fork_server
from orilla.export.convert.input_adapter import InputAdapter, write_adapter
from orilla.export.image_hints import values_of
from orilla.export.imports.foreign import ForeignModel
from orilla.export.keras_images import (
    KerasImages,
    channels_note,
    check_hints,
    describe_inputs,
    keras_images,
    takes_images,
)
from orilla.export.labels import read_labels
from orilla.export.model_hints import ModelHints
from orilla.export.model_info import ModelInfo
from orilla.export.vocabulary import Vocabulary, read_vocabulary
from orilla.export.workspace import Workspace
from orilla.export.wrong_model import check_keras
from orilla.runtime.bundle.card import Card
from orilla.runtime.bundle.choices import Choice
from orilla.runtime.bundle.run_folder import VOCABULARY, read_run
from orilla.runtime.engines.session import Binding
from orilla.runtime.preprocessing.input_kind import InputPreprocessor
from orilla.runtime.preprocessing.spec import Spec
from orilla.runtime.preprocessing.tensor import TensorPreprocess
from orilla.runtime.preprocessing.tensor_spec import TensorSpec
from orilla.runtime.preprocessing.text import TextPreprocess, decode_vocabulary, encode_vocabulary
from orilla.runtime.tasks.decoding import PLAIN, Decoding
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.registry import TASKS, task_of
from orilla.runtime.tasks.task import DecodeContext

ARRAY_DTYPES = ("float32", "int32", "int64")
"""Data types of input arrays that LiteRT and ONNX support in every precision."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """The original model, with all facts about it that the export needs."""

    name: str
    model: Path
    """Path of the file or folder that the converters load."""
    info: ModelInfo
    task: str
    labels: tuple[str, ...]
    """Names of the classes. Empty for the tensor task."""
    has_labels: bool
    """True if the labels are known. False if they may come from a data set."""
    preprocessor: InputPreprocessor
    outputs: tuple[TensorSpec, ...]
    """Outputs in the order of their names."""
    vocabulary: bytes | None = None
    """Content of the vocabulary file of a text model."""
    card: Card | None = None
    """Card of the training run, if Orilla trained the model."""
    data: str | None = None
    """Data set of the training run, if Orilla trained the model."""
    head: HeadSpec | None = None
    """Layout of a detector's outputs. None for other tasks."""
    decoding: Decoding = PLAIN
    """Settings of the task."""
    predict: str = "orilla.export.check.reference:predict"
    """Function that runs the original model, in the form `module:function`."""
    notes: tuple[str, ...] = ()
    """Notes on how a Keras 1 or 2 file was read, and on the vocabulary, one line each."""
    foreign: ForeignModel | None = None
    """Description of the model file, if an importer read it. None for Keras models."""
    choices: tuple[Choice, ...] = ()
    """Choices of the preprocessing and of the decoding, with their origins."""

    @property
    def context(self) -> DecodeContext:
        """Return the properties of the model that its task needs to decode outputs."""
        return DecodeContext(self.labels, self.preprocessor.spec, head=self.head, decoding=self.decoding)

    @property
    def binding(self) -> Binding:
        """Return the output names, and the network input value for each pixel value. All variants share them."""
        names = tuple(spec.name for spec in self.outputs)
        return Binding(output_names=names, pixel_values=self.preprocessor.spec.pixel_values)


def open_source_model(path: Path, hints: ModelHints, work: Workspace) -> SourceModel:
    """Open a run folder, a `.keras` or `.h5` file, or a SavedModel folder.

    Args:
        path: Path of the model.
        hints: Facts that the user states about the model.
        work: Workspace of the export.

    Raises:
        ConfigError: A required hint is missing, or a hint is wrong.
        DataError: The path is neither a run folder nor a model.
        ConversionError: Keras cannot load the model.
    """
    if hints.device is not None and hints.device not in DEVICES:
        raise unknown_name(hints.device, DEVICES, kind="device")
    if check_keras(path).format == "run":
        return _open_run(path, hints, work)
    return _open_foreign(path, hints, work)


def _open_run(run: Path, hints: ModelHints, work: Workspace) -> SourceModel:
    card, settings = read_run(run)
    for hint in fields(hints):
        if hint.name != "device" and getattr(hints, hint.name) is not None:
            msg = f"`{hint.name}` cannot be set for {run}: it is only for models that Orilla did not train"
            raise ConfigError(msg)
    model = run / "model.keras"
    if not model.is_file():
        msg = f"{run} is not a run folder: it has no {model.name}, which `orilla train` writes"
        raise DataError(msg)
    vocabulary = _read_vocabulary(run / VOCABULARY) if "text" in task_of(card.task).input_kinds else None
    info = _describe(model, work, hints.device)
    return SourceModel(
        name=card.model,
        model=model,
        info=info,
        task=card.task,
        labels=card.labels,
        has_labels=True,
        preprocessor=_preprocessor(settings.preprocess, vocabulary),
        outputs=_outputs(info),
        vocabulary=vocabulary,
        card=card,
        data=settings.data,
        head=settings.head,
        decoding=PLAIN if isinstance(card.decoding, msgspec.UnsetType) else card.decoding,
        choices=preprocessing_choices(settings.preprocess, ModelHints(), "0..255", EVERYTHING)
        + output_choices(card.task, card.labels, "model", None),
    )


def _open_foreign(path: Path, hints: ModelHints, work: Workspace) -> SourceModel:
    task = _task(path, hints)
    if hints.input_range is not None:
        values_of(hints.input_range, 3)
    model = path.absolute()
    if hints.input is not None:
        model = write_adapter(work.adapter, InputAdapter(str(path.absolute()), hints.input))
    info = _describe(model, work, hints.device)
    images = task_of(task).input_kinds[0] == "image" and takes_images(info)
    check_hints(hints, info, path.name, images=images)
    pictures = keras_images(hints, info, path.name) if images else None
    activation = _missing_activation(info) if task_of(task).scores_in_0_1 else None
    if pictures is not None or activation is not None:
        adapter = InputAdapter(str(path.absolute()), hints.input, activation=activation)
        if pictures is not None:
            mean, std = pictures.values.mean, pictures.values.std
            adapter = msgspec.structs.replace(adapter, mean=mean, std=std, reverse=pictures.reverse)
        model = write_adapter(work.adapter, adapter)
    vocabulary = _checked_vocabulary(info, hints) if "text" in task_of(task).input_kinds else None
    spec = _spec(task, info) if pictures is None else pictures.spec
    if vocabulary is not None:
        spec = vocabulary.spec
    labels = _labels(task, info, hints)
    return SourceModel(
        name=path.stem,
        model=model,
        info=info,
        task=task,
        labels=labels,
        has_labels=hints.labels is not None,
        preprocessor=_preprocessor(spec, None if vocabulary is None else encode_vocabulary(vocabulary.words)),
        outputs=_outputs(info),
        vocabulary=None if vocabulary is None else encode_vocabulary(vocabulary.words),
        notes=info.notes + (() if vocabulary is None else vocabulary.notes),
        choices=_choices(hints, spec, pictures)
        + output_choices(
            task,
            labels,
            "default" if hints.labels is None else "you",
            activation,
            single=info.outputs[0].shape == (1,),
        ),
    )


def _choices(hints: ModelHints, spec: Spec, pictures: KerasImages | None) -> tuple[Choice, ...]:
    if pictures is None:
        return preprocessing_choices(spec, hints)
    return preprocessing_choices(spec, hints, pictures.described, ("input_range",) if pictures.in_model else ())


def _task(path: Path, hints: ModelHints) -> str:
    if hints.task is None:
        msg = f"the task of {path.name} is unknown: set `task` to one of {', '.join(TASKS)}"
        raise ConfigError(msg)
    TASKS.find(hints.task)
    return hints.task


def _preprocessor(spec: Spec, vocabulary: bytes | None) -> InputPreprocessor:
    return spec.preprocessor(decode_vocabulary(vocabulary) if vocabulary else ())


def _describe(model: Path, work: Workspace, device: str | None) -> ModelInfo:
    """Return the properties of a model. Raises `ConversionError` if it cannot be loaded or `device` cannot run it."""
    out = work.model_info
    fork_server.call("orilla.export.model_info:describe", model=str(model), out=str(out), device=device)
    info = model_info.read(out)
    if info.unmapped:
        more = f" (and {len(info.unmapped) - 1} more)" if len(info.unmapped) > 1 else ""
        msg = f"{device} cannot run the model: {info.unmapped[0]}{more}"
        raise ConversionError(msg)
    return info


def _missing_activation(info: ModelInfo) -> Literal["softmax", "sigmoid"] | None:
    """Return the activation to add to a model that outputs logits, or None for other models."""
    if info.activation != "linear" or len(info.outputs) != 1:
        return None
    return "sigmoid" if info.outputs[0].shape[-1:] == (1,) else "softmax"


def _checked_vocabulary(info: ModelInfo, hints: ModelHints) -> Vocabulary:
    """Return the user's vocabulary. Raises `ConfigError` if it is missing or does not fit the model."""
    if hints.vocabulary is None:
        msg = (
            "a text model needs `vocabulary`: a file with one word per line, the JSON file of a Keras Tokenizer, or a "
            "word index"
        )
        raise ConfigError(msg)
    if len(info.inputs) != 1 or len(info.inputs[0].shape) != 1:
        msg = f"a text model takes tokens [T], but this model takes {describe_inputs(info)}"
        raise ConfigError(msg)
    return read_vocabulary(hints, info.inputs[0].shape[0], info.words)


def _spec(task: str, info: ModelInfo) -> Spec:
    """Return the preprocessing of a model that takes tokens or arrays."""
    if "text" in task_of(task).input_kinds:
        return TextPreprocess(length=info.inputs[0].shape[0])
    if task_of(task).input_kinds == ("image",):
        msg = (
            f"task={task} needs a model that takes images [height,width,3], not {describe_inputs(info)}"
            f"{channels_note(info)}"
        )
        raise ConfigError(msg)
    for tensor in info.inputs:
        if tensor.dtype not in ARRAY_DTYPES:
            msg = (
                f"the input {tensor.name} has type {tensor.dtype}: use {', '.join(ARRAY_DTYPES)}, "
                "and convert the type inside the model"
            )
            raise ConversionError(msg)
    inputs = tuple(TensorSpec(tensor.name, tensor.shape, tensor.dtype) for tensor in info.inputs)
    return TensorPreprocess(inputs)


def _outputs(info: ModelInfo) -> tuple[TensorSpec, ...]:
    outputs = tuple(TensorSpec(tensor.name, tensor.shape, "float32") for tensor in info.outputs)
    if any(0 in spec.shape for spec in outputs):
        msg = f"an output of the model has no fixed shape (outputs: {', '.join(map(str, outputs))})"
        raise ConversionError(msg)
    return tuple(sorted(outputs, key=lambda spec: spec.name))


def _labels(task: str, info: ModelInfo, hints: ModelHints) -> tuple[str, ...]:
    labels = read_labels(hints.labels, hints.encoding) if hints.labels is not None else ()
    return task_of(task).labels_for([output.shape for output in info.outputs], labels)


def _read_vocabulary(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"cannot read the vocabulary {path}: {error.strerror or error}"
        raise DataError(msg) from error

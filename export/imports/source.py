"""Open a `.tflite`, `.onnx` or `.pt2` file, or a PyTorch network, as the original model of an export."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from orilla.devices.errors import ConfigError, ConversionError, DataError, MissingExtraError, OrillaError
from orilla.export.choices import output_choices, preprocessing_choices
from orilla.export.convert import fork_server
from orilla.export.hint_rules import check_imported
from orilla.export.imports import foreign
from orilla.export.imports.foreign import ForeignModel, ForeignTensor
from orilla.export.imports.foreign_check import unusable_model
from orilla.export.imports.head_choice import NoLayoutError, ask_for_head, choose_head
from orilla.export.imports.image_input import describe_inputs, image_spec, takes_images
from orilla.export.imports.questions import Questions
from orilla.export.imports.registry import IMPORTERS, Importer, is_import_path
from orilla.export.imports.task_choice import ask_for_labels, choose_task
from orilla.export.labels import check_visible, read_lines, unique_labels
from orilla.export.model_hints import ModelHints
from orilla.export.model_info import ModelInfo, Tensor
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace
from orilla.export.wrong_model import check_importable
from orilla.runtime.bundle.choices import Choice, Origin
from orilla.runtime.preprocessing.spec import Spec
from orilla.runtime.preprocessing.tensor import TensorPreprocess
from orilla.runtime.preprocessing.tensor_spec import TensorSpec
from orilla.runtime.tasks.detect import head_labels
from orilla.runtime.tasks.heads import registry as heads
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.label_names import count_of
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import ImportedOutput

PREDICT = "orilla.export.imports.predict:predict"
"""Function that runs the imported file as the original model."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """Facts about a model, taken from its file and from the user's hints."""

    task: str
    spec: Spec
    outputs: tuple[TensorSpec, ...]


def open_imported(path: Path, kind: str, hints: ModelHints, work: Workspace) -> SourceModel:
    """Open a model file that an importer reads.

    Args:
        path: Path of the file, or an object `module:object`.
        kind: Name of the importer.
        hints: Facts that the user states about the model.
        work: Workspace of the export.

    Raises:
        ConfigError: Facts are missing, or do not fit the model.
        DataError: The file is damaged, or no engine supports it.
        MissingExtraError: A package is not installed.
    """
    check_importable(path, kind)
    importer = IMPORTERS[kind]
    for package in importer.packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, "export")
    model = _described(path, importer, hints, work)
    questions = Questions(path.name)
    task = choose_task(model, hints, questions)
    if model.open_sizes is not None:
        sizes = "x".join(map(str, model.open_sizes.guess))
        marked = f"the sizes marked ? in {model.open_sizes.inputs}"
        questions.ask("input", marked, sizes, model.open_sizes.reason)
    copied = work.folder / f"original{IMPORTERS[model.format].suffixes[0]}"
    try:
        spec, choices = _spec(model, task, hints, questions)
        outputs = tuple(_output(tensor, model) for tensor in model.outputs)
        decoding = task_of(task).decoding_for(_imported_output(model), multi_label=bool(hints.multi_label))
        _in_own_process(importer.copy, path, copied, _sizes(model, hints))
        head, labels = _classes(model, copied, _Facts(task, spec, outputs), hints, questions)
    except OrillaError as error:
        # A wrong guess may have caused the error, so report the questions first.
        if hints.task is None or model.open_sizes is not None or not isinstance(error, NoLayoutError):
            questions.require_answers()
        raise
    questions.require_answers()
    return SourceModel(
        name=path.name.rpartition(":")[2] if is_import_path(str(path)) else path.stem,
        model=copied,
        info=_info(model),
        task=task,
        labels=labels,
        has_labels=hints.labels is not None or model.hints.labels is not None,
        preprocessor=spec.preprocessor(),
        outputs=outputs,
        head=head,
        decoding=decoding,
        predict=PREDICT,
        foreign=model,
        choices=choices
        + output_choices(
            task,
            labels,
            _origin_of_labels(hints, model),
            decoding.activation,
            single=math.prod(outputs[0].shape) == 1,
        ),
    )


def _origin_of_labels(hints: ModelHints, model: ForeignModel) -> Origin:
    if hints.labels is not None:
        return "you"
    return "default" if model.hints.labels is None else "model"


def _classes(
    model: ForeignModel, copied: Path, facts: _Facts, hints: ModelHints, questions: Questions
) -> tuple[HeadSpec | None, tuple[str, ...]]:
    """Return the head of a detector (None for other tasks) and the labels. Add a question for each unknown fact.

    Args:
        model: The model.
        copied: Path of the copy of its file.
        facts: Known facts about the model.
        hints: Facts that the user states.
        questions: The questions that the user must answer.
    """
    task, labels = task_of(facts.task), _labels(model, hints)
    shapes = {output.name: output.shape for output in facts.outputs}
    if task.needs_head:
        found = choose_head(copied, facts.outputs, facts.spec, hints, labels)
        ask_for_head(found, heads.describe_outputs(shapes), questions)
        head = heads.head_of(found[0].layout)
        if not labels and not head.labels:
            ask_for_labels(head.class_count(found[0], shapes), questions)
            return found[0], ()
        return found[0], head_labels(found[0], shapes, labels)
    if _imported_output(model).has_numbers and task.labels_pixels and not labels:
        ask_for_labels(None, questions)
        return None, ()
    shape = facts.outputs[0].shape
    one_class = len(shape) == 2 or (len(shape) == 3 and 1 in (shape[0], shape[-1]))
    if task.labels_pixels and one_class and len(labels) > 1 and model.values == "fractions":
        msg = (
            f"`labels` has {count_of(labels)}, but the output {heads.describe_outputs(shapes)} contains the "
            "probability of one class: give only the name of this class"
        )
        raise ConfigError(msg)
    return None, task.labels_for(list(shapes.values()), labels)


def _labels(model: ForeignModel, hints: ModelHints) -> tuple[str, ...]:
    """Return the labels from the user or from the metadata of the file, or an empty tuple if they are unknown."""
    if hints.labels is not None:
        return unique_labels(read_lines(hints.labels, hints.encoding))
    labels = model.hints.labels or ()
    check_visible(labels, "the metadata of the file")
    return unique_labels(labels)


def _sizes(model: ForeignModel, hints: ModelHints) -> list[int] | None:
    """Return the sizes of the axes that the file does not fix, or None if it fixes all of them."""
    guess = None if model.open_sizes is None else list(model.open_sizes.guess)
    return guess if hints.input is None else list(hints.input)


def _described(path: Path, importer: Importer, hints: ModelHints, work: Workspace) -> ForeignModel:
    """Read a file in a separate process, and return its description. Raise `DataError` if it cannot be used."""
    _in_own_process(importer.describe, path, work.model_info, None if hints.input is None else list(hints.input))
    model = foreign.read(work.model_info)
    problem = unusable_model(model)
    if problem is not None:
        msg = f"{path.name} cannot be imported: {problem}"
        raise DataError(msg)
    return model


def _in_own_process(function: str, path: Path, out: Path, sizes: list[int] | None) -> None:
    model = str(path) if is_import_path(str(path)) else str(path.absolute())
    try:
        fork_server.call(function, model=model, out=str(out), sizes=sizes)
    except ConversionError as error:
        reason = re.sub(r"^\w+(Error|Exception): ", "", str(error))
        reason = reason.replace("the converter crashed", "the parser crashed, so the file is probably damaged")
        reason = reason.replace("the converter exceeded", "the first inference exceeded")
        if "`input`" in reason:
            raise ConfigError(reason) from error
        msg = reason if path.name in reason else f"{path.name} cannot be imported: {reason}"
        raise DataError(msg) from error


def _spec(model: ForeignModel, task: str, hints: ModelHints, questions: Questions) -> tuple[Spec, tuple[Choice, ...]]:
    """Return the preprocessing and the choices that it contains."""
    kinds = task_of(task).input_kinds
    # Without a hint, a model of the task `tensor` takes arrays.
    as_images = "image" in (kinds[0], hints.input_kind) and "image" in kinds and takes_images(model, hints)
    takes = f"{describe_inputs(model)}{_channels(model)}"
    if not as_images and "tensor" not in kinds:
        msg = f"task={task} needs a model that takes one image, but this model takes {takes}"
        raise ConfigError(msg)
    check_imported(hints, task_of(task), takes, image=as_images)
    if as_images:
        images = image_spec(model, task, hints, questions)
        return images.spec, preprocessing_choices(images.spec, hints, images.values, images.known)
    inputs = []
    for tensor in model.inputs:
        if not tensor.shape or tensor.shape[0] != 1:
            msg = f"the input {tensor.describe()} is not for one sample: its first axis must be 1"
            raise ConfigError(msg)
        # A quantised input is described as float32, because the session quantises its values.
        dtype = tensor.dtype if tensor.quantisation is None else "float32"
        inputs.append(TensorSpec(tensor.name, tensor.shape[1:], "float32" if dtype == "float16" else dtype))
    spec = TensorPreprocess(tuple(inputs))
    return spec, preprocessing_choices(spec, hints)


def _channels(model: ForeignModel) -> str:
    """Return an explanation if the only input looks like an image, but has neither 1 nor 3 channels."""
    shape = model.inputs[0].shape
    if len(model.inputs) != 1 or len(shape) != 4 or shape[1] in (1, 3) or shape[3] in (1, 3):
        return ""
    return "; images have 1 or 3 channels, so give samples with other channels as arrays in a .npz file"


def _output(tensor: ForeignTensor, model: ForeignModel) -> TensorSpec:
    """Return the name, shape without batch axis, and type of an output. Raise `ConfigError` if a size is not fixed."""
    if 0 in tensor.shape:
        operator = model.changing.get(tensor.name)
        reason = "" if operator is None else f", because the operator {operator} determines it from values"
        msg = f"the output {tensor.describe()} has no fixed shape{reason}: export the model without that part"
        raise ConfigError(msg)
    shape = tensor.shape[1:] if tensor.shape and tensor.shape[0] == 1 else tensor.shape
    return TensorSpec(tensor.name, shape, "float32" if tensor.quantisation is not None else tensor.dtype)


def _imported_output(model: ForeignModel) -> ImportedOutput:
    """Return the properties of the first output that the choice of the task's settings depends on."""
    tensor, spec = model.outputs[0], _output(model.outputs[0], model)
    integers = tensor.dtype.startswith(("int", "uint")) and tensor.quantisation is None
    has_numbers = integers or model.values == "indices"
    return ImportedOutput(spec.shape, has_numbers, model.activation is not None)


def _info(model: ForeignModel) -> ModelInfo:
    """Return the properties of the model that the choice of recipes depends on."""
    return ModelInfo(
        inputs=tuple(Tensor(tensor.name, tensor.shape[1:], tensor.dtype) for tensor in model.inputs),
        outputs=tuple(Tensor(tensor.name, tensor.shape[1:], tensor.dtype) for tensor in model.outputs),
        parameters=model.parameters,
        recurrent=model.recurrent,
        not_fused="the model was imported" if model.recurrent else None,
        embeddings=(),
        words=None,
        convolutions=model.convolutions,
        normalises=False,
        activation=model.activation or "",
    )

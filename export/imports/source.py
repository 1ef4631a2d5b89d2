"""Open a `.tflite`, `.onnx` or `.pt2` file, or a PyTorch network, as the original model of an export."""

from __future__ import annotations

import math
import re
from importlib.util import find_spec
from pathlib import Path

from orilla.devices.errors import ConfigError, ConversionError, DataError, MissingExtraError
from orilla.export.choices import output_choices, preprocessing_choices
from orilla.export.convert import fork_server
from orilla.export.imports import foreign
from orilla.export.imports.foreign import ForeignModel, ForeignTensor
from orilla.export.imports.head_choice import choose_head
from orilla.export.imports.image_input import describe_inputs, image_spec, takes_images
from orilla.export.imports.questions import Questions
from orilla.export.imports.registry import IMPORTERS, is_import_path
from orilla.export.labels import read_lines, unique_labels
from orilla.export.model_hints import IMAGE_HINTS, ModelHints
from orilla.export.model_info import ModelInfo, Tensor
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace
from orilla.export.wrong_model import check_importable
from orilla.runtime.bundle.choices import Choice, Origin
from orilla.runtime.preprocessing.spec import Spec
from orilla.runtime.preprocessing.tensor import TensorPreprocess
from orilla.runtime.preprocessing.tensor_spec import TensorSpec
from orilla.runtime.tasks.registry import TASKS, task_of
from orilla.runtime.tasks.task import ImportedOutput

PREDICT = "orilla.export.imports.predict:predict"
"""Function that runs the imported file as the original model."""


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
    sizes = None if hints.input is None else list(hints.input)
    model = _described(path, importer.describe, sizes, work)
    for side, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if not tensors:
            msg = f"{path.name} cannot be imported: the model has no {side}"
            raise DataError(msg)
    task = _task(path, hints.task or model.hints.task)
    copied = work.folder / f"original{IMPORTERS[model.format].suffixes[0]}"
    _in_own_process(importer.copy, path, copied, sizes)
    questions = Questions(path.name)
    spec, choices = _spec(model, task, hints, questions)
    labels = unique_labels(
        read_lines(hints.labels, hints.encoding) if hints.labels is not None else model.hints.labels or ()
    )
    questions.require_answers()
    outputs = tuple(TensorSpec(name, shape, dtype) for name, shape, dtype in map(_output, model.outputs))
    output = _imported_output(model)
    if output.has_numbers and task_of(task).labels_pixels and not labels:
        msg = f"`labels` is missing: the output {model.outputs[0].describe()} contains class numbers without names"
        raise ConfigError(msg)
    decoding = task_of(task).decoding_for(output, multi_label=bool(hints.multi_label))
    head = None
    if task_of(task).needs_head:
        head, labels = choose_head(copied, outputs, spec, hints, labels)
    else:
        labels = task_of(task).labels_for([output.shape for output in outputs], labels)
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


def _task(path: Path, task: str | None) -> str:
    if task is None:
        names = [name for name in TASKS if "text" not in task_of(name).input_kinds]
        msg = f"the task of {path.name} is unknown: set `task` to one of {', '.join(names)}"
        raise ConfigError(msg)
    TASKS.find(task)
    if "text" in task_of(task).input_kinds:
        msg = "text models cannot be imported: use task=tensor, which takes tokens, or export the Keras model"
        raise ConfigError(msg)
    return task


def _described(path: Path, function: str, sizes: list[int] | None, work: Workspace) -> ForeignModel:
    """Read a file in a separate process, and return its description. Raise `DataError` if it cannot be used."""
    _in_own_process(function, path, work.model_info, sizes)
    return foreign.read(work.model_info)


def _in_own_process(function: str, path: Path, out: Path, sizes: list[int] | None) -> None:
    model = str(path) if is_import_path(str(path)) else str(path.absolute())
    try:
        fork_server.call(function, model=model, out=str(out), sizes=sizes)
    except ConversionError as error:
        reason = re.sub(r"^\w+(Error|Exception): ", "", str(error))
        if reason.startswith("the converter "):
            reason = f"the file is damaged: its parser {reason.removeprefix('the converter ')}"
        if reason.startswith(("set ", "the input ")) or "`input`" in reason:
            raise ConfigError(reason) from error
        msg = reason if path.name in reason else f"{path.name} cannot be imported: {reason}"
        raise DataError(msg) from error


def _spec(model: ForeignModel, task: str, hints: ModelHints, questions: Questions) -> tuple[Spec, tuple[Choice, ...]]:
    """Return the preprocessing, and its choices."""
    kinds = task_of(task).input_kinds
    # Without a hint, a model of the task `tensor` takes arrays.
    as_images = "image" in (kinds[0], hints.input_kind) and "image" in kinds
    if as_images and takes_images(model, hints):
        images = image_spec(model, task, hints, questions)
        return images.spec, preprocessing_choices(images.spec, hints, images.values, images.known)
    if "tensor" not in kinds:
        msg = (
            f"task={task} needs a model that takes one image, but this model takes {describe_inputs(model)}"
            f"{_channels(model)}"
        )
        raise ConfigError(msg)
    for name in (*IMAGE_HINTS, "layout"):
        if getattr(hints, name) is not None:
            msg = f"`{name}` is only for image models, but this model takes {describe_inputs(model)}{_channels(model)}"
            raise ConfigError(msg)
    inputs = []
    for tensor in model.inputs:
        if not tensor.shape or tensor.shape[0] != 1 or 0 in tensor.shape:
            msg = f"the input {tensor.describe()} is not for one sample: its first axis must be 1"
            raise ConfigError(msg)
        # A quantised input is described as float32, because the session quantises its values.
        dtype = tensor.dtype if tensor.quantisation is None else "float32"
        inputs.append(TensorSpec(tensor.name, tensor.shape[1:], "float32" if dtype == "float16" else dtype))
    spec = TensorPreprocess(tuple(inputs))
    return spec, preprocessing_choices(spec, hints)


def _channels(model: ForeignModel) -> str:
    """Return an explanation if the only input looks like an image with another number of channels than 1 or 3."""
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return ""
    return "; images have 1 or 3 channels, so give samples with other channels as arrays in a .npz file"


def _output(tensor: ForeignTensor) -> tuple[str, tuple[int, ...], str]:
    """Return the name, shape without batch axis, and type of an output. Raise `ConfigError` if a size is unknown."""
    if 0 in tensor.shape:
        msg = f"the output {tensor.describe()} has no fixed shape, so results cannot be compared: fix it in the model"
        raise ConfigError(msg)
    shape = tensor.shape[1:] if tensor.shape and tensor.shape[0] == 1 else tensor.shape
    return tensor.name, shape, "float32" if tensor.quantisation is not None else tensor.dtype


def _imported_output(model: ForeignModel) -> ImportedOutput:
    """Return the properties of the first output by which the task chooses its settings."""
    tensor, (_, shape, _) = model.outputs[0], _output(model.outputs[0])
    has_numbers = tensor.dtype.startswith(("int", "uint")) and tensor.quantisation is None
    return ImportedOutput(shape, has_numbers, model.activation is not None)


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

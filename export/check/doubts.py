"""Check the facts that a user stated about the images of a model, by trying the alternatives on the user's data.

A wrong value range or channel order gives no error, only wrong results. If a different value gives better results, the
stated value is probably wrong.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConversionError
from orilla.export.check.compare import OutputArrays, Reference
from orilla.export.convert import fork_server
from orilla.export.convert.input_adapter import read_adapter, write_adapter
from orilla.export.data.prepared import SampleSet
from orilla.export.image_hints import PixelValues, named_values
from orilla.export.imports.predict import save_binding
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace, save_array
from orilla.runtime.engines.session import Binding
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.tensor_spec import per_sample

SAMPLES = 24
"""Maximum number of samples on which the alternatives are compared."""

MIN_GAIN = 0.1
"""A message is returned if an alternative value increases the metric or the plausibility by at least this much."""


MIN_PLAUSIBILITY = 0.4
"""A message is returned only if the plausibility with an alternative value is at least this high. Larger inputs make
the outputs of any network more decided, so a low plausibility proves nothing."""


@dataclass(frozen=True, slots=True)
class _Alternative:
    """Pixel values and a channel order that the network may have been trained on."""

    values: PixelValues
    color: str
    """`rgb` or `bgr`, or `grey`."""


def doubts(source: SourceModel, validation: SampleSet, reference: Reference, work: Workspace) -> tuple[str, ...]:
    """Return a message if the original model gives clearly better results with values other than the stated ones.

    With labelled data, the primary metric is compared. Without labels, the plausibility of the outputs is compared. See
    `Task.plausibility`.

    Args:
        source: The original model.
        validation: Prepared samples of the user's data.
        reference: Outputs of the original model for these samples.
        work: Workspace of the export.
    """
    stated = _stated(source)
    places = range(0, validation.count, -(-validation.count // SAMPLES))
    quality = None if stated is None else _quality(reference, reference.at(places), places)
    if stated is None or quality is None:
        return ()
    (images,) = validation.inputs.values()
    chosen = np.asarray(images[places.start : places.stop : places.step])
    best, words, better, pseudo = quality, "", stated, reference.target.pseudo
    alternatives = _alternatives(stated, source.preprocessor.spec.channels)
    run = _keras_outputs if source.foreign is None else _file_outputs
    try:
        results = list(run(source, alternatives.values(), chosen, work))
    except ConversionError:  # With alternative values, a network may output NaN.
        return ()
    for (name, other), outputs in zip(alternatives.items(), results, strict=True):
        found = _quality(reference, outputs, places)
        if found is not None and found > best + MIN_GAIN and (not pseudo or found >= MIN_PLAUSIBILITY):
            best, words, better = found, name, other
    if not words:
        return ()
    measure = "plausibility" if pseudo else reference.target.task.metric_title
    also = f", and the channel order of the images in {validation.source}" if better.values == stated.values else ""
    text = f"with {words}, {measure} of the original model is {best:.2f} instead of {quality:.2f}: check this option"
    return (text + also,)


def _stated(source: SourceModel) -> _Alternative | None:
    """Return the stated pixel values and channel order, or None if the input is quantised or not an image."""
    spec = source.preprocessor.spec
    if not isinstance(spec, Preprocess):
        return None
    if source.foreign is not None:
        if source.foreign.inputs[0].dtype != "float32":
            return None
        return _Alternative(PixelValues(spec.mean, spec.std), spec.color)
    if source.model.suffix != ".json" or not source.info.inputs[0].dtype.startswith("float"):
        return None
    adapter = read_adapter(source.model)
    assert adapter.mean is not None
    return _Alternative(PixelValues(adapter.mean, adapter.std), "bgr" if adapter.reverse else spec.color)


def _alternatives(stated: _Alternative, channels: int) -> dict[str, _Alternative]:
    """Return alternative pixel values and channel orders, by the options that state them.

    Alternatives that change only one fact come first, because the first of several equally good alternatives is
    reported.
    """
    found: dict[str, _Alternative] = {}
    colors = (stated.color,) if stated.color == "grey" else ("rgb", "bgr")
    for name, values in named_values(channels).items():
        for color in colors if values.color is None else (values.color,):
            other = _Alternative(PixelValues(values.mean, values.std), color)
            if other != stated:
                found[f"--input-range {name}" + ("" if color == "grey" else f" --color {color}")] = other
    changes = {name: (other.values != stated.values) + (other.color != stated.color) for name, other in found.items()}
    return {name: found[name] for name in sorted(found, key=lambda name: changes[name])}


def _keras_outputs(
    source: SourceModel, alternatives: Collection[_Alternative], images: NDArray[np.uint8], work: Workspace
) -> list[OutputArrays]:
    """Run a Keras model, without the normalisation that was added to it, on images with other pixel values."""
    adapter = msgspec.structs.replace(read_adapter(source.model), mean=None, std=(1.0,), reverse=False)
    plain = write_adapter(work.folder / "plain.json", adapter)
    jobs = []
    for index, other in enumerate(alternatives):
        (name,) = (tensor.name for tensor in source.info.inputs)
        values = (_in_order(source, other, images) - np.asarray(other.values.mean)) / np.asarray(other.values.std)
        stem = f"doubts{index}"
        save_array(work.inputs(stem, name), values.astype(np.float32))
        files = {output.name: str(work.outputs(stem, place)) for place, output in enumerate(source.outputs)}
        jobs.append({"inputs": {name: str(work.inputs(stem, name))}, "outputs": files})
    work.jobs.write_text(json.dumps(jobs))
    fork_server.call(source.predict, model=str(plain), jobs=str(work.jobs))
    return [{name: np.load(file) for name, file in job["outputs"].items()} for job in jobs]


def _file_outputs(
    source: SourceModel, alternatives: Collection[_Alternative], images: NDArray[np.uint8], work: Workspace
) -> Iterator[OutputArrays]:
    """Run an imported file on images with other pixel values."""
    (name,) = (tensor.name for tensor in source.info.inputs)
    files = {output.name: str(work.outputs("doubts", place)) for place, output in enumerate(source.outputs)}
    names = tuple(output.name for output in source.outputs)
    for other in alternatives:
        spec = msgspec.structs.replace(source.preprocessor.spec, mean=other.values.mean, std=other.values.std)
        save_array(work.inputs("doubts", name), np.ascontiguousarray(_in_order(source, other, images)))
        work.jobs.write_text(json.dumps([{"inputs": {name: str(work.inputs("doubts", name))}, "outputs": files}]))
        save_binding(work.binding, Binding(output_names=names, pixel_values=spec.pixel_values))
        fork_server.call(source.predict, model=str(source.model), jobs=str(work.jobs), binding=str(work.binding))
        yield {output: np.load(file) for output, file in files.items()}


def _in_order(source: SourceModel, other: _Alternative, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return prepared images with the channel order of an alternative."""
    return images[..., ::-1] if other.color != source.preprocessor.spec.color else images


def _quality(reference: Reference, outputs: OutputArrays, places: Sequence[int]) -> float | None:
    """Return the primary metric or, without labels, the plausibility. Return None if the task has no such measure."""
    target = reference.target
    if target.pseudo:
        return target.task.plausibility(list(per_sample(outputs)), target.context)
    truths = (reference.truths[place] for place in places)
    return target.metrics(zip(truths, per_sample(outputs), strict=True)).metrics()[target.task.metric]

"""Check the facts that a user stated about an imported model, by trying the alternatives on the user's data.

A wrong value range or channel order gives no error, only wrong results. A better result with another value shows that
the stated value is probably wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.export.check.compare import OutputArrays, Reference
from orilla.export.convert import fork_server
from orilla.export.data.prepared import SampleSet
from orilla.export.imports.image_input import named_ranges
from orilla.export.imports.predict import save_binding
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace, save_array
from orilla.runtime.engines.session import Binding
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.tensor_spec import per_sample

SAMPLES = 24
"""Maximum number of samples on which the alternatives are compared."""

MIN_GAIN = 0.1
"""Minimum increase of the metric or the plausibility with another value, for which a message is returned."""


def doubts(source: SourceModel, validation: SampleSet, reference: Reference, work: Workspace) -> tuple[str, ...]:
    """Return a message if other values than the stated ones give clearly better results of the original model.

    With labelled data, the primary metric is compared. Without labels, the plausibility of the outputs is compared. See
    `Task.plausibility`.

    Args:
        source: The imported model.
        validation: Prepared samples of the user's data.
        reference: Outputs of the original model for these samples.
        work: Workspace of the export.
    """
    spec = source.preprocessor.spec
    if source.foreign is None or not isinstance(spec, Preprocess) or source.foreign.inputs[0].dtype != "float32":
        return ()
    places = range(0, validation.count, -(-validation.count // SAMPLES))
    stated = _quality(reference, reference.at(places), places)
    if stated is None:
        return ()
    (images,) = validation.inputs.values()
    chosen = np.asarray(images[places.start : places.stop : places.step])
    best, words = stated, ""
    for name, other in _alternatives(spec).items():
        swapped = chosen[..., ::-1] if other.color != spec.color else chosen
        quality = _quality(reference, _outputs(source, other, swapped, work), places)
        if quality is not None and quality > best + MIN_GAIN:
            best, words = quality, name
    if not words:
        return ()
    measure = reference.target.task.metric_title if not reference.target.pseudo else "plausibility"
    return (f"with {words}, {measure} of the original model is {best:.2f} instead of {stated:.2f}: check this option",)


def _alternatives(spec: Preprocess) -> dict[str, Preprocess]:
    """Return other value ranges and channel orders, by the options that state them."""
    found: dict[str, Preprocess] = {}
    colors = (spec.color,) if spec.color == "grey" else ("rgb", "bgr")
    for name, numbers in named_ranges(spec.channels).items():
        for color in colors if numbers.color is None else (numbers.color,):
            other = msgspec.structs.replace(spec, mean=numbers.mean, std=numbers.std, color=color)
            if other != spec:
                found[f"--input-range {name}" + ("" if color == "grey" else f" --color {color}")] = other
    return found


def _outputs(source: SourceModel, spec: Preprocess, images: NDArray[np.uint8], work: Workspace) -> OutputArrays:
    """Run the original model on prepared images with another value range."""
    (name,) = (tensor.name for tensor in source.info.inputs)
    save_array(work.inputs("doubts", name), np.ascontiguousarray(images))
    files = {output.name: str(work.outputs("doubts", place)) for place, output in enumerate(source.outputs)}
    work.jobs.write_text(json.dumps([{"inputs": {name: str(work.inputs("doubts", name))}, "outputs": files}]))
    names = tuple(output.name for output in source.outputs)
    save_binding(work.binding, Binding(output_names=names, pixel_values=spec.pixel_values))
    fork_server.call(source.predict, model=str(source.model), jobs=str(work.jobs), binding=str(work.binding))
    return {name: np.load(file) for name, file in files.items()}


def _quality(reference: Reference, outputs: OutputArrays, places: Sequence[int]) -> float | None:
    """Return the primary metric or, without labels, the plausibility. Return None if the task has no such measure."""
    target = reference.target
    if target.pseudo:
        return target.task.plausibility(list(per_sample(outputs)), target.context)
    truths = (reference.truths[place] for place in places)
    return target.metrics(zip(truths, per_sample(outputs), strict=True)).metrics()[target.task.metric]

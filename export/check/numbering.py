"""Check the numbering of a text model's words, by trying other numberings on labelled texts.

Wrong tokens cause no error, but reduce the accuracy to chance level. If the model is clearly more accurate with another
numbering, the stated or assumed numbering is wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import numpy as np

from orilla.devices.errors import ConfigError
from orilla.export.check.compare import OutputArrays, Reference
from orilla.export.convert import fork_server
from orilla.export.source_model import SourceModel
from orilla.export.vocabulary import STARTS, renumbered
from orilla.export.workspace import Workspace, save_array
from orilla.runtime.evaluation.datasets import ClassifiedText, Sample
from orilla.runtime.preprocessing.input_kind import InputPreprocessor
from orilla.runtime.preprocessing.tensor_spec import per_sample
from orilla.runtime.preprocessing.text import TextPreprocess, decode_vocabulary

TEXTS = 200
"""Maximum number of texts on which the numberings are compared."""

SUSPECT = 0.5
"""Other numberings are tried if the accuracy is at most this share of the way from chance level to 1."""

MIN_GAIN = 0.1
"""A message is returned if a different numbering increases the accuracy by at least this much."""

NEAR_GUESSING = 0.15
"""The numbering is assumed to be wrong if the accuracy exceeds chance level by at most this value."""


def numbering_doubts(
    source: SourceModel, samples: Iterable[Sample], reference: Reference, work: Workspace, *, stated: int | None
) -> tuple[str, ...]:
    """Return a message if the original model is clearly more accurate with another numbering of the words.

    Args:
        source: The original model.
        samples: The validation samples in the order of the reference.
        reference: Outputs of the original model for these samples.
        work: Workspace of the export.
        stated: Token of the first word, if the user states it.

    Raises:
        ConfigError: The model is at chance level with the assumed numbering but not with another one, and the user
            states none.
    """
    spec = source.preprocessor.spec
    if source.card is not None or source.vocabulary is None or not isinstance(spec, TextPreprocess):
        return ()
    if reference.target.pseudo:
        return ()
    texts = [sample for sample in islice(samples, TEXTS) if isinstance(sample, ClassifiedText)]
    places = range(len(texts))
    guessing = max(Counter(sample.label for sample in texts).values()) / len(texts)
    current = _accuracy(reference, reference.at(places), places)
    if current > guessing + SUSPECT * (1 - guessing):
        return ()
    found = _tried(source, spec, [sample.text for sample in texts], work)
    scores = {other: _accuracy(reference, outputs, places) for other, outputs in found.items()}
    best = max(scores, key=scores.__getitem__, default=spec)
    if not scores or scores[best] < current + MIN_GAIN:
        return ()
    options = {"vocabulary_start": (spec.first_word, best.first_word), "padding": (spec.padding, best.padding)}
    changed = " and ".join(f"`{name}` to {new}" for name, (old, new) in options.items() if old != new)
    compared = (
        f"the original model answers {100 * current:.0f} % of {len(texts)} texts correctly if {_words(spec)}, and "
        f"{100 * scores[best]:.0f} % if {_words(best)}"
    )
    if stated is None and current <= guessing + NEAR_GUESSING and best.first_word != spec.first_word:
        msg = f"{compared}: set {changed}"
        raise ConfigError(msg)
    return (f"{compared}: check this option",)


def _words(spec: TextPreprocess) -> str:
    end = "start" if spec.padding == "pre" else "end"
    return f"the first word is token {spec.first_word} and padding is at the {end}"


def _tried(
    source: SourceModel, spec: TextPreprocess, texts: list[str], work: Workspace
) -> dict[TextPreprocess, OutputArrays]:
    """Return the outputs of the original model with each other numbering that fits its embedding."""
    assert source.vocabulary is not None
    words = decode_vocabulary(source.vocabulary)
    (name,) = (tensor.name for tensor in source.info.inputs)
    jobs: list[dict[str, dict[str, str]]] = []
    others: list[TextPreprocess] = []
    for first in STARTS:
        for padding in ("pre", "post"):
            other = renumbered(spec, first, padding)
            if (first, padding) == (spec.first_word, spec.padding):
                continue
            kept = words if source.info.words is None else words[: max(0, source.info.words - first)]
            prepare: InputPreprocessor = other.preprocessor(kept)
            stem = f"numbering{len(others)}"
            save_array(work.inputs(stem, name), np.stack([np.asarray(prepare(text)) for text in texts]))
            outputs = {output.name: str(work.outputs(stem, place)) for place, output in enumerate(source.outputs)}
            jobs.append({"inputs": {name: str(work.inputs(stem, name))}, "outputs": outputs})
            others.append(other)
    work.jobs.write_text(json.dumps(jobs))
    fork_server.call(source.predict, model=str(source.model), jobs=str(work.jobs))
    return {
        other: {name: np.load(file) for name, file in job["outputs"].items()}
        for other, job in zip(others, jobs, strict=True)
    }


def _accuracy(reference: Reference, outputs: OutputArrays, places: range) -> float:
    """Return the primary metric of the task."""
    target = reference.target
    truths = (reference.truths[place] for place in places)
    return target.metrics(zip(truths, per_sample(outputs), strict=True)).metrics()[target.task.metric]

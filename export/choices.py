"""List the choices of the preprocessing, and whether the model, the user or Orilla's default made each of them.

The check prepares the samples for the original model and for the variants in the same way, so it cannot detect a wrong
choice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.choices import Choice, Origin
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.spec import Spec
from orilla.runtime.preprocessing.text import FIRST_WORD, PADDING, START, UNKNOWN, TextPreprocess
from orilla.runtime.tasks.registry import task_of

EVERYTHING = ("input_range", "color", "resize", "interpolation", "fill", "anchor", "rounding", "crop_fraction")
"""Facts about images that are known if the model's file states its whole preprocessing."""

ENDS = {"pre": "start", "post": "end"}


def preprocessing_choices(
    spec: Spec, hints: ModelHints, values: str = "", known: Collection[str] = ()
) -> tuple[Choice, ...]:
    """Return the choices of the preprocessing.

    Args:
        spec: The preprocessing.
        hints: Facts that the user states.
        values: Description of the pixel values that the network was trained on. Only for images.
        known: Names of the hints that the model itself states.
    """
    if isinstance(spec, Preprocess):
        return _of_images(spec, hints, values, known)
    default: Origin = "model" if known else "default"
    if isinstance(spec, TextPreprocess):
        return _of_texts(spec, hints, default)
    return (Choice("values of the arrays", "passed unchanged", default),)


def data_choices(datasets: Sequence[Dataset | None]) -> tuple[Choice, ...]:
    """Return one choice for each kind of change that the data sets' readers made to the samples.

    A data set may be None or occur twice.
    """
    notes = {(dataset.source.name, note) for dataset in datasets if dataset is not None for note in dataset.notes()}
    return tuple(Choice(f"samples of {name}", note, "default") for name, note in sorted(notes))


def output_choices(
    task: str, labels: tuple[str, ...], origin: Origin, activation: str | None, *, single: bool = False
) -> tuple[Choice, ...]:
    """Return the choices about how the outputs of a classifier or a segmentation are decoded.

    Args:
        task: Name of the task.
        labels: Labels of the model.
        origin: Where the labels come from.
        activation: Activation that is added after the outputs, or None.
        single: True if the model outputs a single number.
    """
    choices = []
    if task_of(task).needs_labels:
        names = f"{len(labels)} in this order" if origin != "default" else "numbers in place of names"
        choices.append(Choice("labels", names, origin))
    if single and task_of(task).classifies and len(labels) == 2:
        choices.append(Choice("single output", f"the probability of {labels[1]}, not of {labels[0]}", "default"))
    if activation is not None:
        choices.append(
            Choice("activation", f"{activation} added, because the outputs are not probabilities", "default")
        )
    return tuple(choices)


def _of_texts(spec: TextPreprocess, hints: ModelHints, default: Origin) -> tuple[Choice, ...]:
    numbers = [f"{PADDING} padding"]
    numbers += [f"{spec.start} start"] if spec.start is not None else []
    numbers += [f"{spec.unknown} unknown word"] if spec.unknown is not None else []
    numbering = ", ".join([*numbers, f"{spec.first_word} first word of the vocabulary"])
    usual = (spec.start, spec.unknown, spec.first_word) == (START, UNKNOWN, FIRST_WORD)
    by_file: Origin = default if usual else "model"
    lower = {"all": "lower case", "ascii": "A to Z in lower case", "none": "unchanged case"}[spec.lower]
    return (
        Choice("vocabulary", "one word per token", "you" if hints.vocabulary is not None else default),
        Choice("token numbers", numbering, "you" if hints.vocabulary_start is not None else by_file),
        Choice("words", f"{lower}, split at spaces and at {len(spec.separators)} other characters", by_file),
        Choice("padding", f"at the {ENDS[spec.padding]} of a short text", "you" if hints.padding else default),
        Choice("truncation", f"at the {ENDS[spec.truncation]} of a long text", "you" if hints.truncation else default),
    )


def _of_images(spec: Preprocess, hints: ModelHints, values: str, known: Collection[str]) -> tuple[Choice, ...]:
    def origin(*names: str) -> Origin:
        if any(getattr(hints, name) is not None for name in names):
            return "you"
        return "model" if any(name in known for name in names) else "default"

    of_color = ("color", "input_range") if hints.input_range in ("torch", "caffe") else ("color",)
    color = "bgr" if hints.input_range == "caffe" else spec.color
    choices = [
        Choice("input range", values, origin("input_range", "mean", "std")),
        Choice("colour", f"grey ({spec.grey})" if color == "grey" else color, origin(*of_color)),
        Choice("resize", spec.resize, origin("resize")),
        Choice("interpolation", spec.interpolation, origin("interpolation")),
    ]
    if spec.resize == "letterbox":
        fill = spec.fill if isinstance(spec.fill, int) else ",".join(map(str, spec.fill))
        choices.append(Choice("border", f"value {fill}, image at {spec.anchor}", origin("fill", "anchor")))
        choices.append(Choice("rounding", spec.rounding, origin("rounding")))
    if spec.resize == "crop":
        choices.append(Choice("crop fraction", f"{spec.crop_fraction:g}", origin("crop_fraction")))
    return tuple(choices)

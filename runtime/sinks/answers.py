"""Find the answers in the JSON document of a result, for sinks that publish single values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Document = Mapping[str, Any]


class PlacedAnswer(NamedTuple):
    """The answer of one model, and its position in the document."""

    model: str
    """Name of the model. Empty if there is only one model."""
    path: tuple[str, ...]
    """Keys that lead from the document of the result to the answer."""
    document: Document
    """The answer."""


def answers(result: Document, model: str = "", path: tuple[str, ...] = ()) -> Iterator[PlacedAnswer]:
    """Yield the answer of each model in the document of a result. For a cascade, yield its first answer."""
    if result["task"] == "several":
        for name, answer in result["answers"].items():
            yield from answers(answer, name, (*path, "answers", name))
    elif result["task"] == "cascade":
        yield from answers(result["first"], model, (*path, "first"))
    else:
        yield PlacedAnswer(model, path, result)


def box_counts(answer: Document) -> Counter[str]:
    """Return the number of boxes in the answer of a detector, by label."""
    return Counter(box["label"] for box in answer["boxes"])


def fractions(answer: Document) -> dict[str, float]:
    """Return the share of the frame that each class of a segmentation covers, 0–1, by label."""
    classes = answer.get("classes", [answer])
    return {one["label"]: one["fraction"] for one in classes}


def line_counts(answer: Document) -> dict[tuple[str, str], int]:
    """Return the counts of lines and zones, by the name of the line or zone and the name of the count."""
    return {
        (name, kind): number
        for name, counts in answer.get("counts", {}).items()
        for kind, number in counts.items()
        if kind != "classes"
    }


def essence(result: Document) -> object:
    """Return the part of a result that is compared to decide whether the result has changed.

    This is the label of a classification, the labels and counts of a detection, the area of each class of a
    segmentation in whole per cent, or the values of a regression with three digits. For other tasks, it is the whole
    result.
    """
    task = result["task"]
    if task in ("classify", "text"):
        return result["top"]["label"], tuple(result.get("chosen", ()))
    if task == "detect":
        return box_counts(result), line_counts(result)
    if task == "segment":
        return {label: round(100 * share) for label, share in fractions(result).items()}
    if task == "regress":
        return {name: f"{value:.3g}" for name, value in result["values"].items()}
    if task == "several":
        return {name: essence(answer) for name, answer in result["answers"].items()}
    if task == "cascade":
        return essence(result["first"]), [essence(part) for part in result["parts"]]
    return result

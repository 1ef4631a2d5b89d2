"""The run folder: model, card, plots and page."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from orilla.runtime.bundle.card import Card
from orilla.runtime.bundle.run_folder import VOCABULARY, Run, encode_json
from orilla.runtime.evaluation.datasets import ClassifiedImage, ClassifiedText, Dataset, LabelledImage, Sample
from orilla.runtime.evaluation.datasets.dataset import absolute
from orilla.runtime.files import replacing, write_bytes
from orilla.runtime.html_page import Page
from orilla.runtime.preprocessing.text import encode_vocabulary
from orilla.runtime.tasks import segment
from orilla.runtime.tasks.classify import class_scores
from orilla.train.data.splits import Splits
from orilla.train.evaluate import predict
from orilla.train.fit.checkpoint import Row
from orilla.train.fit.training import write_history
from orilla.train.jobs.job import Job

SHOWN = 16
"""Number of samples in the picture of predictions."""

MAX_CLASSES = 30
"""Maximum number of classes of a confusion matrix with figures."""


def write_run(
    folder: Path,
    card: Card,
    job: Job,
    network: keras.Model,
    data: str,
    dataset: Dataset,
    splits: Splits,
    rows: list[Row],
) -> None:
    """Write everything except the model itself. `data` is the data set as given in the command."""
    write_history(folder / "history.csv", rows)
    draw_curves(folder / "curves.png", rows)
    if card.measured[0].confusion:
        draw_confusion(folder / "confusion.png", card)
    draw_samples(folder / "samples.png", job, network, dataset, splits)
    if job.vocabulary:
        write_bytes(folder / VOCABULARY, encode_vocabulary(job.vocabulary))
    write_bytes(folder / "card.json", encode_json(card))
    write_bytes(folder / "run.json", encode_json(Run(preprocess=job.preprocess, data=absolute(data))))
    write_bytes(folder / "index.html", _page(folder, card))


def draw_curves(path: Path, rows: list[Row]) -> None:
    """Draw loss and metrics of the epochs as a PNG."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("epoch", "seconds")]
    with _figure(path, 2) as (left, right):
        for name in names:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axes = left if name == "loss" else right
            marker = "o" if len(points) < 30 else ""
            axes.plot(*zip(*points, strict=True), marker=marker, markersize=3, label=name)
        left.set(xlabel="epoch", ylabel="training loss", title="Loss")
        right.set(xlabel="epoch", title="Measures")
        right.legend(loc="lower right")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)


def draw_confusion(path: Path, card: Card) -> None:
    """Draw the confusion matrix: shares per true class, and counts if they fit."""
    counts = np.array(card.measured[0].confusion, np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, min(12.0, 0.45 * len(counts) + 2.5))
    with _figure(path, 1, (side, side)) as (axes,):
        axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
        places = range(len(card.labels))
        size = min(10.0, 50 * side / len(counts))  # many classes need small labels to avoid overlap
        axes.set_xticks(places, card.labels, rotation=45 if size > 8 else 90, ha="right", fontsize=size)
        axes.set_yticks(places, card.labels, fontsize=size)
        axes.set(xlabel="said", ylabel="true", title=f"Confusion, {card.measured[0].split}")
        if len(counts) <= MAX_CLASSES:
            for row in places:
                for column in places:
                    colour = "white" if share[row, column] > 0.5 else "black"
                    axes.text(
                        column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8
                    )


def draw_samples(path: Path, job: Job, network: keras.Model, dataset: Dataset, splits: Splits) -> None:
    """Draw predictions for samples of the reported split, evenly spread. Mistakes are red."""
    places = np.linspace(0, len(splits.report) - 1, min(SHOWN, len(splits.report))).round().astype(int)
    samples = [dataset.load(*splits.report[place]) for place in dict.fromkeys(places.tolist())]
    outputs = predict(network, np.stack([job.prepare(sample) for sample in samples]))
    columns = 1 if isinstance(samples[0], ClassifiedText) else 4
    rows = -(-len(samples) // columns)
    size = (10.0, 0.62 * rows + 0.4) if columns == 1 else (10.0, 2.6 * rows)
    with _figure(path, (rows, columns), size) as axes:
        for one in axes:
            one.axis("off")
        for one, sample, output in zip(axes, samples, outputs, strict=False):
            _draw_sample(one, sample, output, job, dataset)


def _draw_sample(axes: Any, sample: Sample, output: np.ndarray, job: Job, dataset: Dataset) -> None:
    if isinstance(sample, LabelledImage):
        height, width = sample.labels.shape
        mask = segment.decode(output, (height, width), job.labels[0]).mask
        true = sample.labels == dataset.classes.index(job.labels[0])
        counted = sample.labels != dataset.ignore
        axes.imshow(_overlay(sample.image, mask & counted, true))
        axes.set_title(sample.name[:28], fontsize=8)
        return
    assert isinstance(sample, ClassifiedImage | ClassifiedText)
    scores = class_scores(output[None])[0]
    said = int(scores.argmax())
    text = f"{job.labels[said]} {100 * scores[said]:.0f} %"
    wrong = said != sample.label
    if wrong:
        text += f" (is {dataset.classes[sample.label]})"
    colour = "tab:red" if wrong else "tab:green"
    if isinstance(sample, ClassifiedText):
        shown = " ".join(sample.text.split())
        shown = shown if len(shown) < 130 else f"{shown[:126]} ..."
        axes.text(0, 0.75, text, color=colour, fontsize=9, transform=axes.transAxes)
        axes.text(0, 0.2, shown, fontsize=7, transform=axes.transAxes)
        return
    axes.imshow(cv2.cvtColor(sample.image, cv2.COLOR_BGR2RGB))
    axes.set_title(text, fontsize=9, color=colour)


def _overlay(image: np.ndarray, mask: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Colour a mask over an image, RGB: green where correct, red where wrong, blue where missed."""
    picture: np.ndarray = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32)
    for where, tint in ((mask & true, (40, 190, 70)), (mask & ~true, (230, 40, 40)), (~mask & true, (40, 90, 240))):
        picture[where] = 0.5 * picture[where] + 0.5 * np.array(tint, np.float32)
    return picture.astype(np.uint8)


@contextmanager
def _figure(path: Path, grid: int | tuple[int, int], size: tuple[float, float] = (10, 3.6)) -> Iterator[list[Any]]:
    """Open a figure and yield its axes. The PNG is written when the block ends without an error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows, columns = grid if isinstance(grid, tuple) else (1, grid)
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():  # a class may be named $5
        warnings.filterwarnings(
            "ignore", "Glyph .* missing"
        )  # the font may lack the script of a class name; the page shows it
        figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        try:
            yield list(axes.flat)
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=110)
        finally:
            pyplot.close(figure)


def _page(folder: Path, card: Card) -> bytes:
    page = Page(f"{card.model} on {card.data.title}", "Model, data and accuracy of one training.")
    page.heading("How good")
    for one in card.measured:
        page.text(_described(card, one.split))
        rows = [(name, f"{value:.4f}", _interval(one.intervals.get(name))) for name, value in one.metrics.items()]
        page.table(("measure", one.split, "95 % interval"), rows)
    if (folder / "confusion.png").exists():
        page.picture(folder / "confusion.png", "confusion matrix: rows are the truth, columns are predictions")
    page.heading("Predictions")
    page.picture(folder / "samples.png", "predictions on samples of the reported split")
    page.heading("Training")
    page.picture(folder / "curves.png", "loss and metrics by epoch")
    page.text(
        f"{card.parameters:,} parameters, {card.epochs} epochs over {card.samples:,} samples in {card.seconds:.0f} s "
        f"on {card.machine} ({card.precision}), seed {card.seed}, started from {card.start_weights}; the weights are "
        f"those of epoch {card.best_epoch}."
    )
    if card.search:
        page.text(
            "Settings chosen by the search: " + ", ".join(f"{name} {value}" for name, value in card.search.items())
        )
    page.commands([card.command])
    page.heading("Data")
    page.text(f"{card.data.title}. Licence: {card.data.licence}.")
    page.table(("split", "samples", "SHA-256"), [(one.name, one.count, one.sha256[:16]) for one in card.data.splits])
    if card.data.leaks_dropped:
        page.text(f"{card.data.leaks_dropped} training samples were dropped, because they also occur in another split.")
    for line in card.data.skipped[:50]:
        page.text(f"skipped: {line}")
    return page.html()


def _described(card: Card, split: str) -> str:
    if split == "choose":
        return "Held-out training samples, on which the epoch was chosen (if any was):"
    return f"The {split} split, on which nothing was chosen:"


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.4f} - {interval[1]:.4f}" if interval else ""

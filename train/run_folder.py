"""Write the run folder: the model, its card, the learning curves, example predictions and a page."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from orilla.runtime.bundle.card import Card
from orilla.runtime.bundle.run_folder import VOCABULARY, Run, encode_json
from orilla.runtime.evaluation.datasets import BoxedImage, ClassifiedImage, ClassifiedText, Dataset, LabelledImage
from orilla.runtime.evaluation.datasets.dataset import MeasuredImage
from orilla.runtime.evaluation.datasets.registry import absolute
from orilla.runtime.files import replacing, write_bytes
from orilla.runtime.html_page import Page
from orilla.runtime.preprocessing.tensor_spec import Outputs, only, per_sample
from orilla.runtime.preprocessing.text import encode_vocabulary
from orilla.runtime.tasks.classify import class_scores
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.regress import values_of
from orilla.runtime.tasks.segmentation import ComparesPixels
from orilla.train.data.splits import Splits
from orilla.train.evaluate import predict
from orilla.train.fit.checkpoint import Row
from orilla.train.fit.training import FitResult, write_history
from orilla.train.jobs.job import Job

MAX_SAMPLES = 16
"""Number of samples in the figure of example predictions."""

MAX_CLASSES = 30
"""Maximum number of classes for which the confusion matrix figure shows counts."""

MAX_SKIPPED = 50
"""Maximum number of skipped samples that the page lists. The card lists all of them."""


TRUE_BGR = (255, 255, 255)
"""Colour of true boxes."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained network, and the job and data that it was trained with."""

    job: Job
    network: keras.Model
    """The network to save, in float32."""
    dataset: Dataset
    splits: Splits
    fit: FitResult


def write_run(folder: Path, card: Card, trained: TrainedModel, data: str) -> None:
    """Write every file of a run folder except the model.

    Args:
        folder: The run folder.
        card: The card of the training run.
        trained: The network, its job and its data.
        data: The specification of the data set on the command line.
    """
    rows, job = trained.fit.rows, trained.job
    write_history(folder / "history.csv", rows)
    draw_curves(folder / "curves.png", rows)
    if card.measured[0].confusion:
        draw_confusion(folder / "confusion.png", card)
    draw_samples(folder / "samples.png", trained)
    if job.vocabulary:
        write_bytes(folder / VOCABULARY, encode_vocabulary(job.vocabulary))
    write_bytes(folder / "card.json", encode_json(card))
    write_bytes(folder / "run.json", encode_json(Run(job.preprocess, absolute(data), job.head)))
    write_bytes(folder / "index.html", _page(folder, card))


def draw_curves(path: Path, rows: list[Row]) -> None:
    """Draw the loss and the metrics by epoch into a PNG file."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("epoch", "seconds")]
    with _figure(path, 2) as (left, right):
        for name in names:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axes = left if name == "loss" else right
            marker = "o" if len(points) < 30 else ""
            axes.plot(*zip(*points, strict=True), marker=marker, markersize=3, label=name)
        left.set(xlabel="epoch", ylabel="training loss", title="Loss")
        right.set(xlabel="epoch", title="Metrics")
        right.legend(loc="lower right")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)


def draw_confusion(path: Path, card: Card) -> None:
    """Draw the confusion matrix into a PNG file.

    The colour of a cell shows its share of the samples of the true class. Counts are added if there is room for them.
    """
    counts = np.array(card.measured[0].confusion, np.float64)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, min(12.0, 0.45 * len(counts) + 2.5))
    with _figure(path, 1, (side, side)) as (axes,):
        axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
        classes = range(len(card.labels))
        size = min(10.0, 50 * side / len(counts))  # The names of many classes would overlap in a larger font.
        axes.set_xticks(classes, card.labels, rotation=45 if size > 8 else 90, ha="right", fontsize=size)
        axes.set_yticks(classes, card.labels, fontsize=size)
        axes.set(xlabel="predicted", ylabel="true", title=f"Confusion matrix, {card.measured[0].split} split")
        if len(counts) > MAX_CLASSES:
            return
        for row, column in product(classes, classes):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)


def draw_samples(path: Path, trained: TrainedModel) -> None:
    """Draw predictions for evenly spread samples of the reported split into a PNG file.

    Mistakes are red. True boxes are white.
    """
    report, dataset = trained.splits.report, trained.dataset
    indices = np.linspace(0, len(report) - 1, min(MAX_SAMPLES, len(report))).round().astype(int)
    samples = [dataset.load(*report[index]) for index in dict.fromkeys(indices.tolist())]
    inputs = np.stack([trained.job.prepare(sample) for sample in samples])
    outputs = per_sample(predict(trained.network, inputs))
    columns = 1 if isinstance(samples[0], ClassifiedText) else 4
    rows = -(-len(samples) // columns)
    size = (10.0, 0.62 * rows + 0.4) if columns == 1 else (10.0, 2.6 * rows)
    with _figure(path, (rows, columns), size) as grid:
        for axes in grid:
            axes.axis("off")
        for axes, sample, output in zip(grid, samples, outputs, strict=False):
            if isinstance(sample, ClassifiedImage | ClassifiedText):
                _draw_class(axes, sample, only(output), trained)
            elif isinstance(sample, MeasuredImage):
                _draw_values(axes, sample, output, trained)
            elif isinstance(sample, LabelledImage | BoxedImage):
                axes.imshow(_answer(sample, output, trained))
                axes.set_title(sample.name[:28], fontsize=8)


def _answer(sample: LabelledImage | BoxedImage, output: Outputs, trained: TrainedModel) -> np.ndarray:
    """Return an RGB image with the model's answer, and with the ground truth or the mistakes."""
    job, dataset = trained.job, trained.dataset
    frame_hw = (sample.image.shape[0], sample.image.shape[1])
    answer = task_of(dataset.task).decode(output, job.context.of_frame(frame_hw))
    image = sample.image.copy()
    if isinstance(sample, LabelledImage) and isinstance(answer, ComparesPixels):
        answer.draw_compared(image, sample.labels, dataset.classes, dataset.ignore)
        return image[..., ::-1]
    if isinstance(sample, BoxedImage):
        for left, top, right, bottom in sample.boxes_xyxy.round().astype(int).tolist():
            cv2.rectangle(image, (left, top), (right - 1, bottom - 1), TRUE_BGR, 2)
    answer.draw(image)
    return image[..., ::-1]


def _draw_class(axes: Any, sample: ClassifiedImage | ClassifiedText, output: np.ndarray, trained: TrainedModel) -> None:
    scores = class_scores(output[None])[0]
    predicted = int(scores.argmax())
    wrong = predicted != sample.label
    title = f"{trained.job.labels[predicted]} {100 * scores[predicted]:.0f} %"
    if wrong:
        title += f" (is {trained.dataset.classes[sample.label]})"
    colour = "tab:red" if wrong else "tab:green"
    if isinstance(sample, ClassifiedText):
        text = " ".join(sample.text.split())
        text = text if len(text) < 130 else f"{text[:126]} ..."
        axes.text(0, 0.75, title, color=colour, fontsize=9, transform=axes.transAxes)
        axes.text(0, 0.2, text, fontsize=7, transform=axes.transAxes)
    else:
        axes.imshow(cv2.cvtColor(sample.image, cv2.COLOR_BGR2RGB))
        axes.set_title(title, fontsize=9, color=colour)


def _draw_values(axes: Any, sample: MeasuredImage, output: Outputs, trained: TrainedModel) -> None:
    """Draw a value in red if it differs by more than a twentieth of its range from the true value."""
    found = values_of(output, trained.job.context)
    low, high = np.array(trained.job.decoding.ranges).T
    wrong = bool((np.abs(found - sample.values) > 0.05 * (high - low)).any())
    pairs = zip(trained.job.labels, found, sample.values, strict=True)
    axes.imshow(cv2.cvtColor(sample.image, cv2.COLOR_BGR2RGB))
    title = ", ".join(f"{name} {number:.3g} (is {true:.3g})" for name, number, true in pairs)
    axes.set_title(title, fontsize=7, color="tab:red" if wrong else "tab:green")


@contextmanager
def _figure(path: Path, grid: int | tuple[int, int], size: tuple[float, float] = (10, 3.6)) -> Iterator[list[Any]]:
    """Yield axes to draw on. The PNG file is written if the block raises no error."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows, columns = grid if isinstance(grid, tuple) else (1, grid)
    # The name of a class may contain a dollar sign, or characters that the font lacks. The page shows them correctly.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        try:
            yield list(axes.flat)
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=110)
        finally:
            pyplot.close(figure)


def _page(folder: Path, card: Card) -> bytes:
    page = Page(f"{card.model} on {card.data.title}", "The metrics of the model, how it was trained, and its data.")
    page.heading("Metrics")
    for result in card.measured:
        page.text(_split_description(result.split))
        rows = [(name, f"{value:.4f}", _interval(result.intervals.get(name))) for name, value in result.metrics.items()]
        page.table(("metric", result.split, "95 % interval"), rows)
    if (folder / "confusion.png").exists():
        page.picture(folder / "confusion.png", "confusion matrix: rows are true classes, columns are predicted ones")
    page.heading("Predictions")
    page.picture(folder / "samples.png", "predictions for samples of the reported split")
    page.heading("Training")
    page.picture(folder / "curves.png", "loss and metrics by epoch")
    page.text(
        f"{card.parameters:,} parameters, {card.epochs} epochs with {card.samples:,} samples in {card.seconds:.0f} s "
        f"on {card.machine} ({card.precision}), seed {card.seed}, initial weights {card.start_weights}; final weights "
        f"from epoch {card.best_epoch}."
    )
    if card.search:
        page.text("Result of the search: " + ", ".join(f"{name} {value}" for name, value in card.search.items()))
    page.commands([card.command])
    page.heading("Data")
    page.text(f"{card.data.title}. Licence: {card.data.licence}.")
    page.table(
        ("split", "samples", "SHA-256"), [(part.name, part.count, part.sha256[:16]) for part in card.data.splits]
    )
    if card.data.leaks_dropped:
        page.text(f"{card.data.leaks_dropped} training samples were dropped because they are also in another split.")
    for line in card.data.skipped[:MAX_SKIPPED]:
        page.text(f"skipped: {line}")
    return page.html()


def _split_description(split: str) -> str:
    if split == "choose":
        return "Held-out training samples, which were used to choose the epoch and the settings:"
    return f"The {split} split, which was not used to choose the epoch or the settings:"


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.4f} - {interval[1]:.4f}" if interval else ""

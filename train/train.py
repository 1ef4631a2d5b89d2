"""Train a model: `orilla train`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from msgspec import UNSET

from orilla.devices import keras_rules
from orilla.devices.detect import detect
from orilla.devices.errors import ConfigError, DataError, unknown_name
from orilla.devices.progress import NoProgress, Progress
from orilla.runtime.bundle.card import Card, EvaluationResult
from orilla.runtime.evaluation.datasets import Dataset, LabelledImage, open_dataset
from orilla.runtime.evaluation.datasets.dataset import Item, digest_of
from orilla.runtime.evaluation.datasets.registry import path_of
from orilla.runtime.files import make_folder, replacing
from orilla.runtime.tasks.decoding import PLAIN
from orilla.runtime.tasks.registry import task_of
from orilla.train.data.combined import CombinedDataset
from orilla.train.data.scan import scan
from orilla.train.data.shares import check_shares, split_share
from orilla.train.data.splits import HELD_OUT, Splits, data_card, split
from orilla.train.evaluate import evaluate, evaluation_result
from orilla.train.fit import backend
from orilla.train.jobs.job import Job, in_float32, make_job
from orilla.train.jobs.run_job import remove_checkpoints, run_job
from orilla.train.models import load_plan
from orilla.train.options import TrainOptions
from orilla.train.run_folder import TrainedModel, write_run
from orilla.train.search import SearchOptions, SearchResult, SearchTask, search


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data of a training run."""

    parts: list[Dataset]
    """The data sets that the options specify."""
    dataset: Dataset
    """The combination of all data sets."""
    splits: Splits
    skipped: dict[Item, str]
    """Reason for each skipped sample."""
    held_out: int | None = None
    """Index of the data set whose training samples are excluded."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Record of how a model was trained, for its card: command line, precision and search."""

    command: str
    precision: str
    search: dict[str, float | int | str]
    """Record of the search. Empty if there was no search."""


def train(
    options: TrainOptions,
    out: Path,
    *,
    command: str,
    search_options: SearchOptions | None = None,
    progress: Progress | None = None,
) -> Card:
    """Train and evaluate a model, and write the run folder.

    Args:
        options: The model, the data, and how to train.
        out: The run folder to write.
        command: The command line, for the card.
        search_options: The search for better options, which runs before the final training run. If None, there is no
            search.
        progress: Receives the progress. If None, no progress is reported.

    Raises:
        ConfigError: An option cannot be used; nothing is written.
        DataError: The data cannot be used.
    """
    options.check()
    progress = progress or NoProgress()
    data = _load_data(options, out, progress, searching=search_options is not None)
    record: dict[str, float | int | str] = {}
    if search_options is not None:
        result = _search(options, search_options, data, out, progress)
        options, record = result.options, result.record
    precision = backend.configure(options.precision, options.seed)
    job = make_job(options, data.dataset, data.splits)
    if options.device is not None:
        _report_advice(job, options.device, progress)
    make_folder(out)
    fit_result = run_job(job, options, out, _signature(options, data), progress)
    trained = TrainedModel(job, in_float32(job.network), data.dataset, data.splits, fit_result)
    card = _card(options, data, trained, Provenance(command, precision, record))
    write_run(out, card, trained, options.data)
    with replacing(
        out / "model.keras"
    ) as temporary:  # The model is written last, so that a folder with a model is complete.
        trained.network.save(temporary)
    remove_checkpoints(out)
    return card


def open_data(options: TrainOptions) -> tuple[list[Dataset], Dataset]:
    """Return the data sets that the options specify, and their combination."""
    specs = [split_share(spec) for spec in (options.data, *options.extra_data)]
    check_shares([share for _, share in specs])
    parts = [open_dataset(spec) for spec, _ in specs]
    held_out = _held_out(options.hold_out_set, parts)
    if len(parts) == 1:
        return parts, parts[0]
    return parts, CombinedDataset(parts[0], parts[1:], load_plan(options.model).label, held_out)


def _held_out(name: str | None, parts: list[Dataset]) -> int | None:
    """Return the index of the data set that is held out, or None."""
    names = [part.source.name for part in parts]
    if name is not None and (name not in names or len(names) == 1):
        raise unknown_name(name, names if len(names) > 1 else [], kind="data set to hold out")
    return None if name is None else names.index(name)


def _load_data(options: TrainOptions, out: Path, progress: Progress, *, searching: bool) -> TrainingData:
    parts, dataset = open_data(options)
    _check_out(options, out)
    skipped = scan(dataset, skip_corrupt=options.skip_corrupt, progress=progress)
    hold_out = options.hold_out
    if hold_out is None and (options.chooses_epoch or searching) and "test" not in dataset.splits:
        hold_out = str(HELD_OUT)
    splits = split(
        dataset,
        hold_out=hold_out,
        drop_leaks=options.drop_leaks,
        skipped=frozenset(skipped),
        limit=options.samples,
    )
    _check_classes(dataset, splits)
    return TrainingData(parts, dataset, splits, skipped, _held_out(options.hold_out_set, parts))


def _check_out(options: TrainOptions, out: Path) -> None:
    """Reject a run folder inside a data set, because its images would later be read as samples."""
    for spec in (options.data, *options.extra_data):
        path = path_of(split_share(spec)[0])
        if path is not None and path.resolve() in (out.resolve(), *out.resolve().parents):
            advice = "its images would be read as samples: choose a folder outside"
            msg = f"the run folder {out} is inside the data set {spec}, so {advice}"
            raise ConfigError(msg)


def _check_classes(dataset: Dataset, splits: Splits) -> None:
    if not task_of(dataset.task).classifies:
        return  # For other tasks, the job checks that the samples contain its classes.
    labels = {name: dataset.labels(name) for name in dataset.splits}
    for items in (splits.train, splits.report):
        present = {labels[name][index] for name, index in items}
        for label, name in enumerate(dataset.classes):
            if label not in present:
                msg = f"class {name} has no usable sample in {items[0][0]}: add samples"
                raise DataError(msg)


def _search(
    options: TrainOptions, search_options: SearchOptions, data: TrainingData, out: Path, progress: Progress
) -> SearchResult:
    """Run the trials of a search, which are evaluated on the held-out samples instead of the reported split."""
    if not data.splits.choose:
        msg = "a search needs held-out samples: remove hold_out=none"
        raise DataError(msg)
    splits = replace(data.splits, report=data.splits.choose)
    backend.configure(options.precision, options.seed)
    defaults = make_job(options, data.dataset, splits)
    metric = f"choose_{task_of(data.dataset.task).metric}"
    make_folder(out)

    def score(trial_options: TrainOptions, epochs: int, trial: str) -> float:
        backend.configure(trial_options.precision, trial_options.seed)
        trial_options = replace(trial_options, epochs=epochs)
        job = make_job(trial_options, data.dataset, splits)
        with tempfile.TemporaryDirectory(prefix=f"trial-{trial}-") as folder:
            rows = run_job(job, trial_options, Path(folder), trial, progress).rows
        return max(row[metric] for row in rows if metric in row)

    start = replace(options, batch=defaults.batch, learning_rate=defaults.learning_rate)
    task = SearchTask(start, search_options, options.epochs or defaults.epochs, score, progress)
    ranges = [search_options.method, search_options.trials, options.learning_rate]
    return search(task, out, signature=json.dumps([*ranges, _signature(options, data)]))


def _report_advice(job: Job, device: str, progress: Progress) -> None:
    """Report the device's restrictions that the network violates."""
    for advice in keras_rules.check(job.network, device):
        progress.message(f"{device}: {advice}")


def _signature(options: TrainOptions, data: TrainingData) -> str:
    """Return a string that identifies a training run.

    It omits the learning rate, which may change when the run is resumed.
    """
    excluded = ("data", "extra_data", "resume", "device", "learning_rate")
    values = {name: value for name, value in asdict(options).items() if name not in excluded and value is not None}
    values["shares"] = [split_share(spec)[1] for spec in (options.data, *options.extra_data)]
    return json.dumps({**values, "data": digest_of(data.dataset, data.splits.train)})


def _show_a_class(part: Dataset, items: Sequence[Item], classes: tuple[str, ...]) -> bool:
    """Return True if a mask of a data set shows one of the classes."""
    own = [index for index, name in enumerate(part.classes) if name in classes]
    samples = (part.load(*item) for item in items)
    return any(isinstance(sample, LabelledImage) and np.isin(sample.labels, own).any() for sample in samples)


def _of_added(data: TrainingData, trained: TrainedModel) -> list[EvaluationResult]:
    """Return, for each added data set with masks, the metrics on the samples that were not used for training.

    Data sets without a pixel of the model's classes are omitted, because their IoU is undefined.
    """
    job, results = trained.job, []
    for number, part in enumerate(data.parts):
        whole = number == data.held_out
        if not task_of(part.task).labels_pixels or not (whole or number > 0):
            continue
        splits = [name for name in part.splits if whole or name != "train"]
        items = [(name, index) for name in splits for index in range(len(part.names(name)))]
        if _show_a_class(part, items, job.context.labels):
            title = f"{part.source.name}: {'whole set held out' if whole else ' and '.join(splits)}"
            results.append(evaluation_result(title, evaluate(trained.network, part, items, job.context, job.prepare)))
    return results


def _card(options: TrainOptions, data: TrainingData, trained: TrainedModel, provenance: Provenance) -> Card:
    job, network, rows = trained.job, trained.network, trained.fit.rows
    splits, dataset = data.splits, data.dataset
    evaluated = [(splits.reported, splits.report)] + ([("choose", splits.choose)] if splits.choose else [])
    results = [
        evaluation_result(name, evaluate(network, dataset, items, job.context, job.prepare))
        for name, items in evaluated
    ]
    results += _of_added(data, trained)
    skipped = [f"{dataset.names(part)[index]}: {reason}" for (part, index), reason in data.skipped.items()]
    return Card(
        model=options.model,
        task=dataset.task,
        labels=job.labels,
        data=data_card(data.parts, dataset, splits, skipped),
        start_weights=job.start_weights,
        parameters=network.count_params(),
        input=job.preprocess.size,
        seed=options.seed,
        epochs=len(rows),
        best_epoch=trained.fit.best_epoch,
        batch=job.batch,
        learning_rate=job.learning_rate,
        samples=len(splits.train),
        seconds=round(sum(row["seconds"] for row in rows), 1),
        machine=str(detect()),
        precision=provenance.precision,
        versions=backend.versions(),
        command=provenance.command,
        measured=tuple(results),
        search=provenance.search,
        decoding=UNSET if job.decoding == PLAIN else job.decoding,
    )

"""Train any course model: `orilla train`."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from orilla.devices import keras_rules
from orilla.devices.detect import detect
from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.card import Card
from orilla.runtime.evaluation.datasets import Dataset, open_dataset
from orilla.runtime.evaluation.datasets.dataset import digest_of, path_of
from orilla.runtime.files import make_folder, replacing
from orilla.runtime.tasks.task import FIRST_METRIC
from orilla.train.data.joined import Joined
from orilla.train.data.scan import scan
from orilla.train.data.splits import Splits, data_card, split
from orilla.train.evaluate import evaluate, measured
from orilla.train.fit import backend
from orilla.train.fit.checkpoint import Row, checkpoint_signature, remove_checkpoint
from orilla.train.fit.training import Fitted, fit
from orilla.train.jobs.job import Job, in_float32, is_float32
from orilla.train.options import TrainOptions
from orilla.train.run_folder import write_run
from orilla.train.search import Method, search


@dataclass(frozen=True, slots=True)
class Searched:
    """Settings of a search."""

    method: Method
    trials: int


def train(options: TrainOptions, out: Path, *, command: str, searched: Searched | None = None) -> Card:
    """Train, evaluate, and write the run folder `out`. With `searched`, search for settings first.

    Raises:
        ConfigError: An option cannot be used; nothing is written.
        DataError: The data cannot be used; nothing is written.
    """
    options.check()
    parts, dataset = open_data(options)
    _check_place(options, out)
    skipped = scan(dataset, skip_corrupt=options.skip_corrupt)
    choosing = options.keep_best or options.patience is not None or searched is not None
    splits = split(
        dataset,
        hold_out="0.1" if options.hold_out is None and choosing and "test" not in dataset.splits else options.hold_out,
        drop_leaks=options.drop_leaks,
        skipped=frozenset(skipped),
        limit=options.samples,
    )
    _check_classes(dataset, splits)
    found: dict[str, float | int | str] = {}
    if searched is not None:
        options, found = _search(options, searched, dataset, splits, out)
    precision = backend.prepare(options.precision, options.seed)
    job = make_job(options, dataset, splits)
    if options.device is not None:
        _advise(job, options.device)
    make_folder(out)
    fitted = run_job(job, options, out, _signature(options, dataset, splits))
    network = job.network if is_float32(job.network) else in_float32(job.network)
    used = [(splits.reported, splits.report)] + ([("choose", splits.choose)] if splits.choose else [])
    results = [measured(name, evaluate(network, dataset, items, job.labels, job.prepare)) for name, items in used]
    bad = [f"{dataset.names(part)[index]}: {why}" for (part, index), why in skipped.items()]
    card = Card(
        model=options.model,
        task=dataset.task,
        labels=job.labels,
        data=data_card(parts, dataset, splits, bad),
        start_weights=job.started,
        parameters=network.count_params(),
        input=network.input.shape[1:3] if dataset.task != "text" else network.input.shape[1:],
        seed=options.seed,
        epochs=len(fitted.rows),
        best_epoch=fitted.best_epoch,
        batch=job.batch,
        learning_rate=job.learning_rate,
        samples=len(splits.train),
        seconds=round(sum(row["seconds"] for row in fitted.rows), 1),
        machine=str(detect()),
        precision=precision,
        versions=backend.versions(),
        command=command,
        measured=tuple(results),
        search=found,
    )
    write_run(out, card, job, network, options.data, dataset, splits, fitted.rows)
    with replacing(out / "model.keras") as temporary:  # written last, so a folder with a card is complete
        network.save(temporary)
    remove_checkpoint(out)
    for file in out.glob("stage*.npz"):
        file.unlink()
    return card


def _search(
    options: TrainOptions, searched: Searched, dataset: Dataset, splits: Splits, out: Path
) -> tuple[TrainOptions, dict[str, float | int | str]]:
    """Run the trials on the held-out samples. The reported split is not used."""
    if not splits.choose:
        msg = "a search needs held-out samples: drop --hold-out none"
        raise DataError(msg)
    blind = replace(splits, report=splits.choose)
    backend.prepare(options.precision, options.seed)
    defaults = make_job(options, dataset, blind)
    epochs = options.epochs or defaults.epochs
    metric = f"choose_{FIRST_METRIC[dataset.task]}"
    make_folder(out)

    def score(chosen: TrainOptions, epochs: int, trial: str) -> float:
        backend.prepare(chosen.precision, chosen.seed)
        chosen = replace(chosen, epochs=epochs)
        job = make_job(chosen, dataset, blind)
        with tempfile.TemporaryDirectory(prefix=f"trial-{trial}-") as folder:
            rows = run_job(job, chosen, Path(folder), trial).rows
        return max(row[metric] for row in rows if metric in row)

    started = replace(options, batch=defaults.batch, learning_rate=defaults.learning_rate)
    around = [searched.method, searched.trials, options.learning_rate]
    signature = json.dumps([*around, _signature(options, dataset, splits)])
    return search(started, searched.method, searched.trials, epochs, out, score, signature=signature)


def _advise(job: Job, device: str) -> None:
    """Print on standard error which problems the network has on the device."""
    console = Console(stderr=True, markup=False, highlight=False)
    for advice in keras_rules.check(job.network, device):
        console.print(f"{device}: {advice}", soft_wrap=True)


def open_data(options: TrainOptions) -> tuple[list[Dataset], Dataset]:
    """Open the data sets that the options name. Return them, and their union."""
    parts = [open_dataset(spec) for spec in (options.data, *options.extra_data)]
    return parts, Joined(parts[0], parts[1:]) if len(parts) > 1 else parts[0]


def make_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Create the job of the model. Only its modules are imported."""
    if options.model == "road":
        from orilla.train.jobs.road import road_job

        return road_job(options, dataset, splits)
    from orilla.train.jobs.classify import classifier

    return classifier(options, dataset, splits)


def _check_place(options: TrainOptions, out: Path) -> None:
    """Raise `ConfigError` if the run folder lies inside the data, where later readings would find it."""
    for spec in (options.data, *options.extra_data):
        path = path_of(spec)
        if path is not None and path.resolve() in (out.resolve(), *out.resolve().parents):
            msg = f"--out {out} lies inside the data {spec} and would be read as data: give another folder"
            raise ConfigError(msg)


def _check_classes(dataset: Dataset, splits: Splits) -> None:
    if dataset.task == "segment":
        return  # for segmentations, the job checks the classes that it needs
    labels = {name: dataset.labels(name) for name in dataset.splits}
    for part in (splits.train, splits.report):
        present = {labels[name][index] for name, index in part}
        for label, name in enumerate(dataset.classes):
            if label not in present:
                msg = f"class {name} has no usable sample in {part[0][0]}: add samples"
                raise DataError(msg)


def _signature(options: TrainOptions, dataset: Dataset, splits: Splits) -> str:
    """Return the signature of a checkpoint. It omits the learning rate, which may be lowered after a loss of NaN."""
    free = ("data", "extra_data", "resume", "device", "learning_rate")
    summary = {name: value for name, value in asdict(options).items() if name not in free}
    return json.dumps({**summary, "data": digest_of(dataset, splits.train)})


def run_job(job: Job, options: TrainOptions, out: Path, signature: str) -> Fitted:
    """Run the stages. A stage that finished before an interruption is read back."""
    rows: list[Row] = []
    best = 0
    for number, make in enumerate(job.stages):
        finished = out / f"stage{number}.npz"
        of_stage = f"{signature} stage {number}"
        if options.resume and finished.exists():
            rows = _read_stage(finished, job.network, of_stage)
            if checkpoint_signature(out) == of_stage:  # the process was killed between the two writes
                remove_checkpoint(out)
            continue
        started = time.monotonic()
        stage = make()
        board = out / "tensorboard" / (f"stage{number + 1}" if len(job.stages) > 1 else "")
        preparing = time.monotonic() - started
        fitted = fit(
            stage.model,
            stage.data,
            stage.loss,
            stage.evaluate,
            replace(stage.options, tensorboard=board) if options.tensorboard else stage.options,
            out,
            signature=of_stage,
            metrics=stage.metrics,
            resume=options.resume,
        )
        best = len(rows) + fitted.best_epoch
        fitted.rows[0]["seconds"] = round(
            fitted.rows[0]["seconds"] + preparing, 2
        )  # features of frozen layers count as epochs
        rows += [{**row, "epoch": len(rows) + row["epoch"]} for row in fitted.rows]
        if number + 1 < len(job.stages):
            _write_stage(finished, job.network, of_stage, rows)
            remove_checkpoint(out)
    return Fitted(rows, best)


def _write_stage(path: Path, network: keras.Model, signature: str, rows: list[Row]) -> None:
    state = np.frombuffer(json.dumps({"signature": signature, "rows": rows}).encode(), np.uint8)
    arrays = {f"v{index}": keras.ops.convert_to_numpy(value) for index, value in enumerate(network.variables)}
    with replacing(path) as temporary:
        np.savez(temporary, state=state, **arrays)


def _read_stage(path: Path, network: keras.Model, signature: str) -> list[Row]:
    with np.load(path) as saved:
        summary = json.loads(saved["state"].tobytes())
        if summary["signature"] != signature:
            msg = f"cannot resume {path.parent}: {path.name} was written with other options"
            raise DataError(msg)
        for index, variable in enumerate(network.variables):
            variable.assign(saved[f"v{index}"])
    rows: list[Row] = summary["rows"]
    return rows

"""Trains any model of the curriculum: `orilla train`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np

from orilla.devices.detect import detect
from orilla.devices.errors import DataError
from orilla.runtime.card import Card
from orilla.runtime.datasets import Dataset, open_dataset
from orilla.runtime.datasets.labelled import FIRST_METRIC, digest_of
from orilla.runtime.files import make_folder, replacing
from orilla.train import surroundings
from orilla.train.data.joined import Joined
from orilla.train.data.scan import scan
from orilla.train.data.splits import Splits, data_card, split
from orilla.train.evaluate import evaluate, measured
from orilla.train.fit import Fitted, Row, fit, remove_checkpoint
from orilla.train.job import Job, in_float32, is_float32
from orilla.train.options import TrainOptions
from orilla.train.run_folder import write_run


def train(
    options: TrainOptions, out: Path, *, command: str, search: dict[str, float | int | str] | None = None
) -> Card:
    """Trains, evaluates, and writes the run folder `out`.

    Raises:
        ConfigError, DataError: options or data that can't be used; nothing is written.
    """
    options.check()
    parts, dataset = open_data(options)
    skipped = scan(dataset, skip_bad=options.skip_bad)
    splits = split(
        dataset,
        hold_out=_hold_out(options, dataset),
        drop_leaks=options.drop_leaks,
        skipped=frozenset(skipped),
        limit=options.samples,
    )
    _check_classes(dataset, splits)
    precision = surroundings.prepare(options.precision, options.seed)
    job = make_job(options, dataset, splits)
    make_folder(out)
    signature = _signature(options, dataset, splits)
    fitted = _fit(job, options, out, signature)
    network = job.network if is_float32(job.network) else in_float32(job.network)
    used = [(splits.reported, splits.report)] + ([("choose", splits.choose)] if splits.choose else [])
    found = [measured(name, evaluate(network, dataset, items, job.labels, job.prepare)) for name, items in used]
    machine = detect()
    card = Card(
        model=options.model,
        task=dataset.task,
        labels=job.labels,
        data=data_card(
            parts, dataset, splits, [f"{dataset.names(part)[index]}: {why}" for (part, index), why in skipped.items()]
        ),
        start_weights=job.started,
        parameters=network.count_params(),
        input=tuple(int(side) for side in network.input.shape[1:3] if side != 3 or len(network.input.shape) == 2),
        seed=options.seed,
        epochs=len(fitted.rows),
        best_epoch=fitted.best_epoch,
        batch=job.batch,
        learning_rate=job.learning_rate,
        samples=len(splits.train),
        seconds=round(sum(row["seconds"] for row in fitted.rows), 1),
        machine=str(machine),
        precision=precision,
        versions=surroundings.versions(),
        command=command,
        measured=tuple(found),
        search=search or {},
    )
    with replacing(out / "model.keras") as temporary:
        network.save(temporary)
    write_run(out, card, job, network, options.data, dataset, splits, fitted.rows)
    remove_checkpoint(out)
    for file in out.glob("stage*.npz"):
        file.unlink()
    return card


def open_data(options: TrainOptions) -> tuple[list[Dataset], Dataset]:
    """The data sets that the options name, and all of them as one."""
    parts = [open_dataset(spec) for spec in (options.data, *options.add)]
    return parts, Joined(parts[0], parts[1:]) if len(parts) > 1 else parts[0]


def make_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """The model's job; imports what it needs."""
    if options.model == "road":
        from orilla.train.road import road_job

        return road_job(options, dataset, splits)
    from orilla.train.classify import classifier

    return classifier(options, dataset, splits)


def _hold_out(options: TrainOptions, dataset: Dataset) -> str | None:
    """Choosing an epoch needs samples held out where the reported split is all there is."""
    wants = options.best or options.patience is not None
    return "0.1" if options.hold_out is None and wants and "test" not in dataset.splits else options.hold_out


def _check_classes(dataset: Dataset, splits: Splits) -> None:
    if dataset.task == "segment":
        return
    labels = {name: dataset.labels(name) for name in dataset.splits}
    for part in (splits.train, splits.report):
        present = {labels[name][index] for name, index in part}
        for label, name in enumerate(dataset.classes):
            if label not in present:
                raise DataError(f"class {name} has no usable sample in {part[0][0]}: add some")


def _signature(options: TrainOptions, dataset: Dataset, splits: Splits) -> str:
    told = {name: value for name, value in asdict(options).items() if name not in ("data", "add", "resume")}
    return json.dumps({**told, "data": digest_of(dataset, splits.train)})


def _fit(job: Job, options: TrainOptions, out: Path, signature: str) -> Fitted:
    """Runs the stages; one that was finished before an interruption is read back."""
    rows: list[Row] = []
    best = 0
    for number, make in enumerate(job.stages):
        finished = out / f"stage{number}.npz"
        of_stage = f"{signature} stage {number}"
        if options.resume and finished.exists():
            rows = _read_stage(finished, job.network, of_stage)
            continue
        started = time.monotonic()
        stage = make()
        preparing = time.monotonic() - started
        fitted = fit(
            stage.model,
            stage.data,
            stage.loss,
            stage.evaluate,
            replace(stage.options, tensorboard=out / "tensorboard") if options.tensorboard else stage.options,
            out,
            signature=of_stage,
            metrics=stage.metrics,
            resume=options.resume,
        )
        best = len(rows) + fitted.best_epoch
        fitted.rows[0]["seconds"] = round(fitted.rows[0]["seconds"] + preparing, 2)  # features of frozen layers count
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
        told = json.loads(saved["state"].tobytes())
        if told["signature"] != signature:
            raise DataError(f"cannot resume {path.parent}: {path.name} was written with other options")
        for index, variable in enumerate(network.variables):
            variable.assign(saved[f"v{index}"])
    rows: list[Row] = told["rows"]
    return rows


def first_metric(card: Card) -> tuple[str, float]:
    """The measure that a model is held by, of the split that is reported."""
    name = FIRST_METRIC[card.task]
    return name, card.metrics[name]

"""Trains the road model: `orilla train road`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from orilla.devices.detect import detect
from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.card import Card, DataCard, SplitCard
from orilla.runtime.datasets import Dataset, open_dataset
from orilla.runtime.files import make_folder, replacing
from orilla.runtime.preprocess import Preprocess
from orilla.train.data.road import RoadData
from orilla.train.evaluate import evaluate_segmentation
from orilla.train.fit import FitOptions, fit, remove_checkpoint
from orilla.train.losses import RoadLoss
from orilla.train.models import road
from orilla.train.run_folder import write_run

LABEL = "road"


@dataclass(frozen=True, slots=True)
class RoadOptions:
    """What `orilla train road` can be told."""

    data: str
    epochs: int = 60
    batch: int = 8
    learning_rate: float = 1e-3
    seed: int = 0
    weights: str = "none"
    """`none`, `imagenet` (downloaded by Keras), or a local `no_top` file of MobileNetV2."""
    input_hw: tuple[int, int] = road.INPUT_HW
    width: float = 1.0
    samples: int | None = None
    evaluate_every: int = 5
    resume: bool = False


def train_road(options: RoadOptions, out: Path, *, command: str) -> Card:
    """Trains, evaluates, and writes the run folder `out`.

    Raises:
        ConfigError, DataError: options or data that can't be used; nothing is written.
    """
    dataset = open_dataset(options.data)
    _check(options, dataset)
    preprocess = Preprocess(size_hw=options.input_hw)
    keras.utils.set_random_seed(options.seed)
    model = _model(options, len(dataset.classes))
    deployed = road.deployable(model)
    grid_hw = tuple(deployed.output.shape[1:3])
    data = RoadData(dataset, LABEL, preprocess, grid_hw, options.batch, options.seed, options.samples)
    val_limit = options.samples

    def evaluate() -> dict[str, float]:
        return evaluate_segmentation(deployed, dataset, "val", LABEL, preprocess, limit=val_limit)

    make_folder(out)
    fit_options = FitOptions(options.epochs, options.learning_rate, evaluate_every=options.evaluate_every)
    told = {name: value for name, value in asdict(options).items() if name not in ("data", "resume")}
    signature = json.dumps({**told, "data": dataset.digest("train")})
    rows = fit(
        model,
        data,
        RoadLoss(len(dataset.classes)),
        evaluate,
        fit_options,
        out,
        signature=signature,
        resume=options.resume,
    )
    metrics = {name: value for name, value in rows[-1].items() if name not in ("epoch", "loss", "seconds")}
    card = Card(
        model="road",
        task="segment",
        label=LABEL,
        data=_data_card(dataset),
        start_weights="random" if options.weights == "none" else Path(options.weights).name,
        parameters=deployed.count_params(),
        input_hw=options.input_hw,
        seed=options.seed,
        epochs=options.epochs,
        batch=options.batch,
        learning_rate=options.learning_rate,
        samples=data.count,
        seconds=round(sum(row["seconds"] for row in rows), 1),
        machine=str(detect()),
        versions={"keras": keras.__version__, keras.backend.backend(): _backend_version()},
        command=command,
        metrics=metrics,
    )
    with replacing(out / "model.keras") as temporary:
        deployed.save(temporary)
    write_run(out, card, preprocess, options.data, rows)
    remove_checkpoint(out)
    return card


def _check(options: RoadOptions, dataset: Dataset) -> None:
    if options.seed < 0:
        raise ConfigError(f"seed {options.seed}: must be 0 or more")
    if not 0 < options.width <= 2:
        raise ConfigError(f"width {options.width}: must be above 0, at most 2")
    if not 0 < options.learning_rate <= 1:
        raise ConfigError(f"learning rate {options.learning_rate}: must be above 0, at most 1")
    if any(side % 32 or side < 64 for side in options.input_hw):
        raise ConfigError(
            f"input {options.input_hw[0]}x{options.input_hw[1]}: both sides must be multiples of 32, from 64 on"
        )
    if LABEL not in dataset.classes:
        raise DataError(
            f"data set {dataset.source.name} has no class {LABEL!r}: its classes are {', '.join(dataset.classes)}"
        )
    for split in ("train", "val"):
        if split not in dataset.splits:
            raise DataError(f"data set {options.data} has no {split}/ split")
    if options.weights not in ("none", "imagenet") and not Path(options.weights).is_file():
        raise ConfigError(f"no such weights file: {options.weights}")


def _model(options: RoadOptions, classes: int) -> keras.Model:
    weights = None if options.weights == "none" else options.weights
    try:
        model = road.build(classes=classes, weights=weights, input_hw=options.input_hw, width=options.width)
    except (ValueError, OSError) as error:
        if weights is None:
            raise
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"cannot use --weights {options.weights} at width {options.width}: {reason}") from error
    if weights is not None:
        road.freeze_statistics(model)
    return model


def _data_card(dataset: Dataset) -> DataCard:
    splits = tuple(SplitCard(name, len(dataset.names(name)), dataset.digest(name)) for name in dataset.splits)
    return DataCard(dataset.source.name, dataset.source.title, dataset.source.licence, splits)


def _backend_version() -> str:
    from importlib.metadata import version

    return version(keras.backend.backend())

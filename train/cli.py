"""The command `orilla train`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.devices.names import readable, whole_number
from orilla.runtime.bundle.run_folder import CHECKPOINT, SEARCH
from orilla.runtime.evaluation.datasets.dataset import READERS
from orilla.runtime.stdio import hidden_stderr
from orilla.train.models import MODELS

if TYPE_CHECKING:
    from orilla.runtime.bundle.card import Card


BACKENDS = ("tensorflow", "jax", "torch")
"""Backends of Keras that can train."""

TRIALS = 20
"""Default number of trials of a search."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    models = "; ".join(f"{name}: {model.about}" for name, model in MODELS.items())
    parser.add_argument("model", choices=list(MODELS), metavar="MODEL", help=models)
    parser.add_argument(
        "--data", required=True, help=f"folder, zip or file, or {', '.join(READERS)}:PATH, or scenes[:SEED]"
    )
    parser.add_argument(
        "--extra-data", action="append", default=[], metavar="DATA", help="data set whose training samples are added"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder to write")
    learning = parser.add_argument_group("learning (the defaults depend on the model)")
    learning.add_argument("--epochs", type=int, help="epochs of the last stage")
    learning.add_argument("--batch", type=int, help="samples per step")
    learning.add_argument("--learning-rate", type=float, help="peak learning rate")
    learning.add_argument("--weight-decay", type=float)
    learning.add_argument("--schedule", choices=("cosine", "constant"), default="cosine", help="(default: cosine)")
    learning.add_argument(
        "--patience", type=int, help="stop after this number of evaluations without improvement; implies --keep-best"
    )
    learning.add_argument("--keep-best", action="store_true", help="keep the epoch that was best on held-out samples")
    learning.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    learning.add_argument(
        "--precision",
        choices=("auto", "float32", "float16", "bfloat16"),
        default="auto",
        help="arithmetic (default: float16 on a GPU, else float32)",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--samples", type=int, help="use only this number of samples per split")
    data.add_argument("--hold-out", help="training samples to hold out for choices: a share, sequence names, or none")
    data.add_argument(
        "--drop-leaks", action="store_true", help="leave out training samples that occur in another split"
    )
    data.add_argument(
        "--skip-corrupt", action="store_true", help="skip samples that cannot be used, and list them on the card"
    )
    data.add_argument(
        "--no-augment", dest="augment", action="store_false", help="train without random changes of the images"
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--weights", default="none", help="initial weights: none, imagenet (downloaded) or a file, complete or partial"
    )
    model.add_argument(
        "--input", metavar="HxW|T", help="network input: height and width as in 224x352, or a number of tokens"
    )
    model.add_argument("--width", type=float, help="width factor of the road model's channels (default: 1.0)")
    model.add_argument("--head", choices=("gap", "flatten"), help="layer between the last grid and the classifier")
    model.add_argument("--dropout", type=float)
    model.add_argument("--views", type=int, help="random changes per sample for frozen layers")
    parser.add_argument("--device", help="report, before the first epoch, problems of the network on coral or pi4")
    parser.add_argument(
        "--search", choices=("hyperband", "random"), help="search learning rate, weight decay, batch size and dropout"
    )
    parser.add_argument("--trials", type=int, help=f"trials of the search (default: {TRIALS})")
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard logs into RUN/tensorboard")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training of RUN")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Train a model. Return the exit code and the JSON document."""
    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        msg = f"--out {out} is a file: give a folder"
        raise ConfigError(msg)
    if (out / "model.keras").exists():
        msg = f"--out {out} already holds a trained model: give another folder"
        raise ConfigError(msg)
    _check_search(arguments)
    if (out / SEARCH).exists() and not arguments.search:
        msg = f"--out {out} contains the trials of a search: add --search METHOD, or give another folder"
        raise ConfigError(msg)
    if arguments.resume and not _interrupted(out):
        print(f"orilla: no checkpoint in {out}: starting a new training", file=sys.stderr)
    backend = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        msg = f"KERAS_BACKEND={backend}: must be one of {', '.join(BACKENDS)}"
        raise ConfigError(msg)
    if not arguments.resume and _interrupted(out):
        msg = f"--out {out} contains an interrupted training: add --resume, or give another folder"
        raise ConfigError(msg)
    try:
        with hidden_stderr():  # TensorFlow prints six lines at its import
            from orilla.train.options import TrainOptions
            from orilla.train.train import Searched, train
    except ImportError as error:
        if error.name and error.name.startswith("orilla"):
            raise
        extra = "backends" if (error.name or "").startswith(("jax", "torch")) else "train"
        raise MissingExtraError(error.name or "keras", extra) from error
    given = {name: value for name, value in vars(arguments).items() if name in TrainOptions.__dataclass_fields__}
    given |= {"input": parse_size(arguments.input), "extra_data": tuple(arguments.extra_data)}
    searched = Searched(arguments.search, arguments.trials or TRIALS) if arguments.search else None
    try:
        card = train(TrainOptions(**given), out, command=command_line(), searched=searched)
    except KeyboardInterrupt:
        if _interrupted(out):
            print(f"orilla: the progress is saved in {out}: continue with --resume", file=sys.stderr)
        raise
    return 0, {"run": str(out), "card": card}


def _check_search(arguments: argparse.Namespace) -> None:
    if arguments.trials is not None and not arguments.search:
        msg = f"--trials {arguments.trials} has no effect without --search: leave it out"
        raise ConfigError(msg)
    if arguments.trials is not None and arguments.trials < 1:
        msg = f"--trials {arguments.trials}: must be 1 or more"
        raise ConfigError(msg)
    for name in ("dropout", "weight_decay"):
        if arguments.search and getattr(arguments, name) is not None:
            msg = f"--search chooses the {name.replace('_', ' ')}: leave --{name.replace('_', '-')} out"
            raise ConfigError(msg)


def _interrupted(out: Path) -> bool:
    """Return True if a run folder contains a checkpoint for `--resume`."""
    return any((out / name).exists() for name in (CHECKPOINT, "stage0.npz", SEARCH))


def show(document: dict[str, object]) -> None:
    """Print the results of the training."""
    from rich.console import Console
    from rich.table import Table

    card: Card = document["card"]  # type: ignore[assignment]
    first = card.measured[0]
    table = Table(title=f"{card.model} on {card.data.title}: {first.split}", min_width=60)
    for column in ("measure", "value", "95 % interval"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, value in first.metrics.items():
        if "/" in name and len(card.labels) > 2:
            continue  # metrics per class are on the page
        low, high = first.intervals[name]
        table.add_row(name, f"{value:.4f}", f"{low:.4f} - {high:.4f}")
    console = Console(markup=False, highlight=False)
    console.print(table)
    if card.data.skipped or card.data.leaks_dropped:
        console.print(
            f"{len(card.data.skipped)} corrupt samples skipped, {card.data.leaks_dropped} leaked samples dropped"
        )
    console.print(
        f"{card.parameters:,} parameters, {card.epochs} epochs in {card.seconds:.0f} s on {card.machine}; "
        f"started from {card.start_weights}; weights of epoch {card.best_epoch}"
    )
    console.print(f"page: {document['run']}/index.html")
    console.print(f"next: orilla export {document['run']} --out {card.model}.orilla")


def parse_size(text: str | None) -> tuple[int, ...] | None:
    """Parse `224x352` as height and width, or `200` as a length."""
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(whole_number(side) for side in sides):
        msg = f"--input {text}: give height and width as in 224x352, or a number of tokens as in 200"
        raise ConfigError(msg)
    return tuple(map(int, sides))


def command_line() -> str:
    """Return the command for the card, quoted for a shell. Paths are shortened to their last part."""
    words = [re.sub(r"(^|[=:])[^=:]*/", r"\1", word.rstrip("/")) for word in sys.argv[1:]]
    return shlex.join(["orilla", *(readable(word) for word in words)])

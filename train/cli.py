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
"""Of Keras, that train."""

TRIALS = 20
"""Of a search."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    models = "; ".join(f"{name}: {model.about}" for name, model in MODELS.items())
    parser.add_argument("model", choices=list(MODELS), metavar="MODEL", help=models)
    parser.add_argument(
        "--data", required=True, help=f"a folder, zip or file, or {', '.join(READERS)}:PATH, or scenes[:SEED]"
    )
    parser.add_argument(
        "--extra-data", action="append", default=[], metavar="DATA", help="add the training samples of DATA"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder to write")
    learning = parser.add_argument_group("learning (defaults are the model's own)")
    learning.add_argument("--epochs", type=int, help="passes over the training samples, in the last stage")
    learning.add_argument("--batch", type=int, help="samples in a step")
    learning.add_argument("--learning-rate", type=float, help="at its peak")
    learning.add_argument("--weight-decay", type=float)
    learning.add_argument("--schedule", choices=("cosine", "constant"), default="cosine", help="(default: cosine)")
    learning.add_argument(
        "--patience", type=int, help="stop after so many evaluations without a better one; --keep-best too"
    )
    learning.add_argument("--keep-best", action="store_true", help="keep the epoch that was best on samples held out")
    learning.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    learning.add_argument(
        "--precision", choices=("auto", "float32", "float16", "bfloat16"), default="auto", help="auto: float16 on a GPU"
    )
    data = parser.add_argument_group("data")
    data.add_argument("--samples", type=int, help="use only so many samples of each split")
    data.add_argument("--hold-out", help="training samples to choose on: a share, sequence names, or none")
    data.add_argument("--drop-leaks", action="store_true", help="leave out training samples that another split holds")
    data.add_argument("--skip-corrupt", action="store_true", help="leave out samples that can't be used, and name them")
    data.add_argument("--no-augment", dest="augment", action="store_false", help="no random changes of pictures")
    model = parser.add_argument_group("model")
    model.add_argument("--weights", default="none", help="none, imagenet (downloaded) or a file, complete or partial")
    model.add_argument("--input", metavar="HxW|T", help="network input: pixels as in 224x352, or tokens")
    model.add_argument("--width", type=float, help="of the road model's channels (default: 1.0)")
    model.add_argument("--head", choices=("gap", "flatten"), help="from the last grid to one vector")
    model.add_argument("--dropout", type=float)
    model.add_argument("--views", type=int, help="random changes of each sample that frozen layers see")
    parser.add_argument("--device", help="say before the first epoch what coral or pi4 will make of the network")
    parser.add_argument("--search", choices=("hyperband", "random"), help="find learning rate, decay, batch, dropout")
    parser.add_argument("--trials", type=int, help=f"of the search (default: {TRIALS})")
    parser.add_argument("--tensorboard", action="store_true", help="write logs into RUN/tensorboard")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted training of RUN stopped")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Trains; returns the exit code and the JSON document."""
    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        msg = f"--out {out} is a file: give a folder"
        raise ConfigError(msg)
    if (out / "model.keras").exists():
        msg = f"--out {out} already holds a trained model: give another folder"
        raise ConfigError(msg)
    _check_search(arguments)
    if (out / SEARCH).exists() and not arguments.search:
        msg = f"--out {out} holds the trials of a search: add --search METHOD, or give another folder"
        raise ConfigError(msg)
    if arguments.resume and not _interrupted(out):
        print(f"orilla: {out} holds nothing to go on from: the training begins anew", file=sys.stderr)
    backend = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        msg = f"KERAS_BACKEND={backend}: give {', '.join(BACKENDS)}"
        raise ConfigError(msg)
    if not arguments.resume and _interrupted(out):
        msg = f"--out {out} holds an interrupted training: add --resume, or give another folder"
        raise ConfigError(msg)
    try:
        with hidden_stderr():  # TensorFlow introduces itself in six lines
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
            print(f"orilla: {out} holds what was done: --resume goes on from there", file=sys.stderr)
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
            msg = f"--search finds the {name.replace('_', ' ')}: leave --{name.replace('_', '-')} out"
            raise ConfigError(msg)


def _interrupted(out: Path) -> bool:
    """Whether a run folder holds what `--resume` goes on from."""
    return any((out / name).exists() for name in (CHECKPOINT, "stage0.npz", SEARCH))


def show(document: dict[str, object]) -> None:
    """Prints what was reached, for people."""
    from rich.console import Console
    from rich.table import Table

    card: Card = document["card"]  # type: ignore[assignment]
    first = card.measured[0]
    table = Table(title=f"{card.model} on {card.data.title}: {first.split}", min_width=60)
    for column in ("measure", "value", "95 % interval"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, value in first.metrics.items():
        if "/" in name and len(card.labels) > 2:
            continue  # of each class: the page has them
        low, high = first.intervals[name]
        table.add_row(name, f"{value:.4f}", f"{low:.4f} - {high:.4f}")
    console = Console(markup=False, highlight=False)
    console.print(table)
    if card.data.skipped or card.data.leaks_dropped:
        console.print(f"{len(card.data.skipped)} bad samples skipped, {card.data.leaks_dropped} leaks dropped")
    console.print(
        f"{card.parameters:,} parameters, {card.epochs} epochs in {card.seconds:.0f} s on {card.machine}; "
        f"started from {card.start_weights}; weights of epoch {card.best_epoch}"
    )
    console.print(f"look at: {document['run']}/index.html")
    console.print(f"next: orilla export {document['run']} --out {card.model}.orilla")


def parse_size(text: str | None) -> tuple[int, ...] | None:
    """`224x352` as height and width, `200` as a length."""
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(whole_number(side) for side in sides):
        msg = f"--input {text}: give height and width as in 224x352, or a length in tokens as in 200"
        raise ConfigError(msg)
    return tuple(map(int, sides))


def command_line() -> str:
    """The command as a card states it, for a shell: paths are cut to their last part."""
    words = [re.sub(r"(^|[=:])[^=:]*/", r"\1", word.rstrip("/")) for word in sys.argv[1:]]
    return shlex.join(["orilla", *(readable(word) for word in words)])

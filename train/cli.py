"""The command `orilla train`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.devices.names import readable, whole_number
from orilla.runtime.commands.lazy_help import lazy_help
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.evaluation.datasets.options import add_arguments as add_reading_arguments
from orilla.runtime.evaluation.datasets.options import options_of, with_options
from orilla.runtime.evaluation.datasets.registry import READERS
from orilla.runtime.stdio import hidden_stderr
from orilla.runtime.terminal.messages import print_message
from orilla.train.models import MODELS

if TYPE_CHECKING:
    from orilla.runtime.bundle.card import Card
    from orilla.runtime.terminal.console import ResultConsole
    from orilla.train.options import TrainOptions
    from orilla.train.search import SearchOptions

BACKENDS = ("tensorflow", "jax", "torch")
"""Keras backends for training."""

TRIALS = 20
"""Default number of trials of a search."""

MODEL_DEFAULT = "(default: the model's own)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    lazy_help(
        parser.add_argument("model", choices=MODELS, metavar="MODEL"),
        lambda: f"model to train. {MODELS.described(lambda name, row: f'{name}: {row.description}', '; ')}",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder to write")
    parser.add_argument("--resume", action="store_true", help="resume the interrupted training run in RUN")
    parser.add_argument("--tensorboard", action="store_true", help="write logs for TensorBoard into RUN/tensorboard")
    parser.add_argument(
        "--device", help="before training, print which restrictions of the device (coral or pi4) the network violates"
    )
    _add_data_arguments(parser.add_argument_group("data"))
    _add_training_arguments(parser.add_argument_group("training"))
    _add_model_arguments(parser.add_argument_group("model"))
    search = parser.add_argument_group(
        "search", "Search for the learning rate, the weight decay, the batch size and the dropout."
    )
    search.add_argument("--search", choices=("hyperband", "random"), help="search method (default: no search)")
    search.add_argument("--trials", type=int, help=f"maximum number of trials (default: {TRIALS})")


def _add_data_arguments(group: argparse._ArgumentGroup) -> None:
    lazy_help(
        group.add_argument("--data", required=True, action="append", metavar="DATA[=SHARE]"),
        lambda: (
            f"data set: a folder, a zip, a file, KIND:PATH with KIND {READERS.described()}, or scenes[:SEED]. "
            "Further --data add training samples, as --extra-data does"
        ),
    )
    group.add_argument(
        "--extra-data",
        action="append",
        default=[],
        metavar="DATA[=SHARE]",
        help="data set whose training samples are added to those of --data; may be repeated. =SHARE states its share "
        "in the samples of an epoch, such as 0.3. Without a share, each sample is used once in an epoch",
    )
    group.add_argument(
        "--hold-out-set",
        metavar="NAME",
        help="name of one of the data sets whose training samples are excluded; the data set is only evaluated",
    )
    add_reading_arguments(group)
    group.add_argument("--samples", type=int, help="maximum number of samples of each split (default: all)")
    group.add_argument(
        "--hold-out",
        metavar="SHARE|NAMES|none",
        help="training samples to hold out for choosing the epoch or the settings: a share, sequence names "
        "separated by commas, or none. Default: if there is a test split, the val split is used, or 0.1 if there is no "
        "val split; if there is no test split, 0.1 with --keep-best, --patience or --search, else none",
    )
    group.add_argument(
        "--drop-leaks",
        action="store_true",
        help="drop training samples that are also in another split (default: stop with an error)",
    )
    group.add_argument(
        "--skip-corrupt", action="store_true", help="skip and report corrupt samples (default: stop with an error)"
    )
    group.add_argument("--no-augment", dest="augment", action="store_false", help="train without augmentation")


def _add_training_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", type=int, help=f"epochs of the last training phase {MODEL_DEFAULT}")
    group.add_argument("--batch", type=int, help=f"batch size in samples {MODEL_DEFAULT}")
    group.add_argument("--learning-rate", type=float, help=f"maximum learning rate {MODEL_DEFAULT}")
    group.add_argument("--weight-decay", type=float, help=f"weight decay of AdamW {MODEL_DEFAULT}")
    group.add_argument(
        "--schedule",
        choices=("cosine", "constant"),
        default="cosine",
        help="schedule of the learning rate: warm-up and cosine decay, or constant (default: cosine)",
    )
    group.add_argument(
        "--keep-best",
        action="store_true",
        help="keep the epoch with the best metric on the held-out samples (default: the last epoch)",
    )
    group.add_argument(
        "--patience",
        type=int,
        help="stop after this many evaluations without improvement; implies --keep-best (default: train all epochs)",
    )
    group.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")
    group.add_argument(
        "--precision",
        choices=("auto", "float32", "float16", "bfloat16"),
        metavar="PRECISION",
        default="auto",
        help="numeric precision: auto, float32, float16 or bfloat16; float16 and bfloat16 mean mixed precision "
        "(default: auto, which is float16 on a GPU and float32 elsewhere)",
    )


def _add_model_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--weights",
        default="none",
        help="initial weights: none, imagenet (downloaded), or a weights file, complete or partial; for road and "
        "segment also the model.keras of another run, a bundle, or the name of a shipped bundle (default: none)",
    )
    group.add_argument(
        "--input",
        metavar="HxW|T",
        help="size of the network's input: height and width in pixels, such as 224x352, or a number of tokens "
        f"{MODEL_DEFAULT}",
    )
    group.add_argument(
        "--width",
        type=float,
        help="factor for the number of channels of segmentation models and detectors (default: 1.0)",
    )
    group.add_argument(
        "--head",
        choices=("gap", "flatten"),
        help="layer that converts the last feature map to a vector: global average pooling (gap) or flatten "
        f"{MODEL_DEFAULT}",
    )
    group.add_argument("--dropout", type=float, help=f"dropout rate, 0 to 1 {MODEL_DEFAULT}")
    group.add_argument(
        "--views",
        type=int,
        help=f"number of augmented views of each sample that the frozen layers process {MODEL_DEFAULT}",
    )


@dataclass(frozen=True, slots=True)
class TrainResult(CommandResult):
    """The trained model."""

    run: str
    """Run folder that was written."""
    card: Card

    def render(self, console: ResultConsole) -> None:
        """Print the metrics of the reported split."""
        from rich.table import Table

        from orilla.runtime.tasks.metrics.bootstrap import few_samples

        card, result = self.card, self.card.measured[0]
        table = Table(title=f"{card.model} on {card.data.title}: {result.split}", min_width=60)
        for column in ("metric", "value", "95 % interval"):
            table.add_column(column, justify="left" if column == "metric" else "right")
        for name, value in result.metrics.items():
            if "/" in name and len(card.labels) > 2:
                continue  # The metrics of each class are only on the HTML page.
            low, high = result.intervals[name]
            table.add_row(name, f"{value:.4f}", f"{low:.4f} - {high:.4f}")
        console.print_table(table)
        count = next((split.count for split in card.data.splits if split.name == result.split), None)
        if count is not None and (few := few_samples(count)):
            console.print_line(f"warning: {few}")
        if card.data.skipped or card.data.leaks_dropped:
            console.print_line(
                f"{len(card.data.skipped)} corrupt samples skipped, {card.data.leaks_dropped} leaked samples dropped"
            )
        console.print_line(
            f"{card.parameters:,} parameters, {card.epochs} epochs in {card.seconds:.0f} s on {card.machine}; "
            f"initial weights {card.start_weights}, final weights from epoch {card.best_epoch}"
        )
        console.print_line(f"page: {self.run}/index.html")
        console.print_line(f"next: orilla export {self.run} --out {card.model}.orilla")


def execute(arguments: argparse.Namespace) -> TrainResult:
    """Train a model."""
    _check_search(arguments)
    _check_out(arguments)
    _check_backend()
    try:
        with hidden_stderr():  # TensorFlow prints six lines on import.
            from orilla.train.options import TrainOptions
            from orilla.train.search import SearchOptions
    except ImportError as error:
        if error.name and error.name.startswith("orilla"):
            raise
        extra = "backends" if (error.name or "").startswith(("jax", "torch")) else "train"
        raise MissingExtraError(error.name or "keras", extra) from error
    names = {field.name for field in fields(TrainOptions)}
    values = {name: value for name, value in vars(arguments).items() if name in names}
    values |= {"input": parse_size(arguments.input), "extra_data": (*arguments.data[1:], *arguments.extra_data)}
    values["data"] = with_options(arguments.data[0], options_of(arguments))
    search = SearchOptions(arguments.search, arguments.trials or TRIALS) if arguments.search else None
    card = _train(TrainOptions(**values), arguments.out, search)
    return TrainResult(str(arguments.out), card)


def _train(options: TrainOptions, out: Path, search: SearchOptions | None) -> Card:
    with hidden_stderr():
        from orilla.runtime.terminal.progress import TerminalProgress
        from orilla.train.train import train

    try:
        progress = TerminalProgress()
        return train(options, out, command=command_line(), search_options=search, progress=progress)
    except KeyboardInterrupt:
        if _is_resumable(out):
            print_message(
                f"orilla: Training interrupted. To resume the run in {out}, repeat the command with --resume."
            )
        raise


def _check_out(arguments: argparse.Namespace) -> None:
    from orilla.runtime.bundle.run_folder import SEARCH

    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        msg = f"--out {out} is a file: choose a folder"
        raise ConfigError(msg)
    if (out / "model.keras").exists():
        msg = f"--out {out} already contains a trained model: choose another folder"
        raise ConfigError(msg)
    if (out / SEARCH).exists() and not arguments.search:
        msg = f"--out {out} contains the trials of a search: add --search METHOD to resume it, or choose another folder"
        raise ConfigError(msg)
    if arguments.resume and not _is_resumable(out):
        print_message(f"orilla: No checkpoint in {out}: starting a new run.")
    if not arguments.resume and _is_resumable(out):
        msg = f"--out {out} contains an interrupted training run: add --resume to continue it, or choose another folder"
        raise ConfigError(msg)


def _check_search(arguments: argparse.Namespace) -> None:
    trials: int | None = arguments.trials
    if trials is not None and not arguments.search:
        msg = f"--trials {trials} has no effect without --search: leave it out"
        raise ConfigError(msg)
    if trials is not None and trials < 1:
        msg = f"--trials {trials}: must be 1 or more"
        raise ConfigError(msg)
    for flag, value in (("--dropout", arguments.dropout), ("--weight-decay", arguments.weight_decay)):
        if arguments.search and value is not None:
            msg = f"{flag} {value} has no effect, because --search chooses the value: leave it out"
            raise ConfigError(msg)


def _check_backend() -> None:
    backend = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        msg = f"KERAS_BACKEND={backend}: must be one of {', '.join(BACKENDS)}"
        raise ConfigError(msg)


def _is_resumable(out: Path) -> bool:
    """Return True if a run folder contains files from which `--resume` can continue."""
    from orilla.runtime.bundle.run_folder import CHECKPOINT, SEARCH

    return any((out / name).exists() for name in (CHECKPOINT, "phase0.npz", SEARCH))


def parse_size(text: str | None) -> tuple[int, ...] | None:
    """Convert the value of `--input`: `224x352` into a height and a width, `200` into a length in tokens.

    Raises:
        ConfigError: The value has neither of these forms.
    """
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(whole_number(side) for side in sides):
        msg = f"--input {text}: must be height and width, such as 224x352, or a length in tokens, such as 200"
        raise ConfigError(msg)
    return tuple(map(int, sides))


def command_line() -> str:
    """Return the command line for the card, quoted for a shell. Only the last part of each path is kept."""
    words = [re.sub(r"(^|[=:])[^=:]*/", r"\1", word.rstrip("/")) for word in sys.argv[1:]]
    return shlex.join(["orilla", *(readable(word) for word in words)])

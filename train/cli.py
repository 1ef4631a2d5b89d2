"""The command `orilla train`."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError, MissingExtraError
from orilla.runtime.names import whole_number
from orilla.runtime.native import hidden_stderr
from orilla.runtime.run_folder import CHECKPOINT

if TYPE_CHECKING:
    from orilla.runtime.card import Card

MODELS = {"road": "a U-Net that finds the road, below 1 M parameters"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", choices=sorted(MODELS), help="; ".join(f"{k}: {v}" for k, v in MODELS.items()))
    parser.add_argument(
        "--data", default="scenes", help="scenes, scenes:SEED, or a CamVid folder or zip (default: scenes)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder to write")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training pictures (default: 60)")
    parser.add_argument("--batch", type=int, default=8, help="pictures in a step (default: 8)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="at its peak (default: 0.001)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--weights",
        default="none",
        help="the encoder's at the start: none, imagenet (downloaded) or a MobileNetV2 no-top file (default: none)",
    )
    parser.add_argument(
        "--input", default="224x352", metavar="HxW", help="network input, multiples of 32 (default: 224x352)"
    )
    parser.add_argument("--width", type=float, default=1.0, help="MobileNetV2's width multiplier (default: 1.0)")
    parser.add_argument("--samples", type=int, help="use only the first so many pictures of each split")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted training of RUN stopped")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Trains; returns the exit code and the JSON document."""
    for name in ("epochs", "batch", "samples"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: must be 1 or more")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out} is a file: give a folder")
    if (arguments.out / "model.keras").exists():
        raise ConfigError(f"--out {arguments.out} already holds a trained model: give another folder")
    if (arguments.out / CHECKPOINT).exists() and not arguments.resume:
        raise ConfigError(f"--out {arguments.out} holds an interrupted training: add --resume, or give another folder")
    try:
        with hidden_stderr():  # TensorFlow introduces itself in six lines
            from orilla.train.road import RoadOptions, train_road
    except ImportError as error:
        if error.name and error.name.startswith("orilla"):
            raise
        raise MissingExtraError(error.name or "keras", "train") from error
    options = RoadOptions(
        data=arguments.data,
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        weights=arguments.weights,
        input_hw=parse_size(arguments.input),
        width=arguments.width,
        samples=arguments.samples,
        resume=arguments.resume,
    )
    card = train_road(options, arguments.out, command=command_line())
    return 0, {"run": str(arguments.out), "card": card}


def show(document: dict[str, object]) -> None:
    """Prints what was reached, for people."""
    from rich.console import Console
    from rich.table import Table

    card: Card = document["card"]  # type: ignore[assignment]
    table = Table(title=f"{card.model} on {card.data.title}: validation", min_width=60)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in card.metrics.items():
        table.add_row(name, f"{value:.4f}")
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(f"{card.parameters:,} parameters, {card.epochs} epochs in {card.seconds:.0f} s on {card.machine}")
    console.print(f"next: orilla export {document['run']} --out {card.model}.orilla")


def parse_size(text: str) -> tuple[int, int]:
    """`224x352` as height and width."""
    height, _, width = text.partition("x")
    if not (whole_number(height) and whole_number(width)):
        raise ConfigError(f"--input {text}: give height and width as in 224x352")
    return int(height), int(width)


def command_line() -> str:
    """The command as a card states it: paths are cut to their last part."""
    words = [re.sub(r"(^|=)[^=]*/", r"\1", word) for word in sys.argv[1:]]
    return " ".join(["orilla", *words])

"""The options of `orilla run` for a degradation ladder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError

if TYPE_CHECKING:
    from orilla.runtime.loop.ladder import Ladder
    from orilla.runtime.runner import Runner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--ladder",
        metavar="MS",
        type=float,
        help="use a faster variant while answers are older than this number of milliseconds (p90)",
    )
    parser.add_argument(
        "--rung",
        metavar="NAME",
        action="append",
        help="a variant or another bundle that --ladder may use, as VARIANT, BUNDLE or BUNDLE:VARIANT; repeat the "
        "option for each, with the best first (default: the faster variants of the bundle)",
    )


def ladder_of(arguments: argparse.Namespace) -> Ladder | None:
    """Return the settings of the ladder, or None if the loop has none.

    Raises:
        ConfigError: An option is invalid, or `--rung` is given without `--ladder`.
    """
    rungs = tuple(arguments.rung or ())
    if arguments.ladder is None:
        if rungs:
            msg = f"--rung {rungs[0]} needs a deadline: give --ladder with a number of milliseconds, as in --ladder 80"
            raise ConfigError(msg)
        return None
    if len(arguments.source) > 1:
        msg = "--ladder needs exactly one --source: run a separate process for each camera"
        raise ConfigError(msg)
    from orilla.runtime.loop.ladder import Ladder

    try:
        return Ladder(arguments.ladder, rungs)
    except ConfigError as error:
        msg = f"--ladder: {error}"
        raise ConfigError(msg) from error


def rungs_of(runner: Runner, ladder: Ladder | None) -> list[str]:
    """Return the names of the rungs, starting with the best. The list is empty if there is no ladder."""
    return [] if ladder is None else list(runner.ladder_stages(runner.stages(), ladder).names)

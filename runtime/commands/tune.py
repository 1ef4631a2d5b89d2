"""The command `orilla tune`: find the fastest variant, engine and thread count on this machine."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orilla.devices.cores import available_cores
from orilla.devices.detect import Machine, detect
from orilla.devices.errors import ConfigError
from orilla.devices.names import whole_number
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.runtime.engines.tuning_cache import Candidate
    from orilla.runtime.terminal.console import ResultConsole
    from orilla.runtime.tune import Trial

MIN_S, MAX_S = 5.0, 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    parser.add_argument(
        "--max-drop",
        type=float,
        default=1.0,
        help="largest allowed accuracy drop compared with the original model, in points (default: 1)",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit in seconds (default: 60)")
    parser.add_argument("--engines", help="test only these engines, separated by commas (orilla devices lists them)")
    parser.add_argument(
        "--threads",
        help="test only these numbers of threads, separated by commas (default: up to all cores except one)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the choice, but do not store it")


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A row in the table of candidates."""

    variant: str
    engine: str
    threads: int
    p50_ms: float | None
    count: int
    """Number of inferences that were measured in the last round."""
    rounds: int
    left_out: str | None
    """Reason why the candidate was not chosen. None for the chosen candidate."""


@dataclass(frozen=True, slots=True)
class TuneResult(CommandResult):
    """The chosen candidate, and all candidates."""

    bundle: str
    machine: Machine
    choice: Candidate
    p50_ms: float | None
    default: str
    """Default variant of the bundle."""
    kept: str | None
    """File with the stored choice. None with `--dry-run`."""
    trials: list[TrialRow]

    def render(self, console: ResultConsole) -> None:
        """Print all candidates and the choice."""
        from rich.table import Table

        table = Table(title=f"{self.bundle} on {self.machine}", box=None, padding=(0, 2, 0, 0))
        for column in ("variant", "engine", "threads", "p50 ms", ""):
            justify: Literal["left", "right"] = "right" if column in ("threads", "p50 ms") else "left"
            table.add_column(column, justify=justify, no_wrap=column != "")
        for row in self.trials:
            p50 = "" if row.p50_ms is None else f"{row.p50_ms:.3f}"
            table.add_row(row.variant, row.engine, str(row.threads), p50, row.left_out or "chosen")
        console.print_table(table)
        console.print_line(f"chosen: {self.choice}, p50 {self.p50_ms:.3f} ms")
        if self.kept:
            console.print_line(f"orilla run uses it from now on; stored in {self.kept}")


def execute(arguments: argparse.Namespace) -> TuneResult:
    """Find the fastest candidate and store it."""
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.engines.tuning_cache import check_writable
    from orilla.runtime.terminal.progress import TerminalProgress
    from orilla.runtime.tune import candidates, order, remember, tune

    ends = time.perf_counter() + arguments.seconds
    if not MIN_S <= arguments.seconds <= MAX_S:
        msg = f"--seconds {arguments.seconds:g}: must be {MIN_S:g} to {MAX_S:g}"
        raise ConfigError(msg)
    if not 0 <= arguments.max_drop <= 100:
        msg = f"--max-drop {arguments.max_drop:g}: must be 0 to 100 points"
        raise ConfigError(msg)
    engines = arguments.engines.split(",") if arguments.engines is not None else None
    if not arguments.dry_run:
        check_writable()
    bundle = Bundle.open(arguments.bundle)
    trials = candidates(bundle, max_drop=arguments.max_drop, threads=_threads(arguments.threads), engines=engines)
    with TerminalProgress() as progress:
        chosen = tune(bundle, trials, ends, progress)
    return TuneResult(
        bundle=str(arguments.bundle),
        machine=detect(),
        choice=chosen.candidate,
        p50_ms=chosen.p50_ms,
        default=bundle.manifest.default,
        kept=None if arguments.dry_run else remember(bundle, chosen),
        trials=[_row(trial) for trial in order(trials)],
    )


def _threads(text: str | None) -> list[int] | None:
    """Return the thread counts of `--threads`."""
    if text is None:
        return None
    numbers, maximum = text.split(","), available_cores()
    if not all(whole_number(number) and 1 <= int(number) <= maximum for number in numbers):
        msg = f"--threads {text}: give thread counts from 1 to {maximum} (the number of usable cores), for example 1,2"
        raise ConfigError(msg)
    return [int(number) for number in numbers]


def _row(trial: Trial) -> TrialRow:
    candidate = trial.candidate
    return TrialRow(
        variant=candidate.variant,
        engine=candidate.engine,
        threads=candidate.threads,
        p50_ms=trial.p50_ms,
        count=len(trial.times_ms),
        rounds=trial.rounds,
        left_out=trial.left_out,
    )

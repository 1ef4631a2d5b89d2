"""The command `orilla replay`: repeat a recording's decisions, or simulate another policy."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.runtime.loop.simulate import Outcome
    from orilla.runtime.terminal.console import ResultConsole

RECORDED = "recorded"
"""Name of the simulation with the recorded settings."""


@dataclass(frozen=True, slots=True)
class ReplayCheck(CommandResult):
    """The recorded decisions, compared with those that the current code makes."""

    policy: str
    models: dict[str, str]
    """Variant and engine of each model. The keys are the names."""
    decisions: int
    """Number of decisions."""
    identical: bool
    first_difference: int | None
    """Index of the first decision that differs, counted from 0. None if all decisions are the same."""

    @property
    def exit_code(self) -> int:
        """Return 0 if all decisions are the same, else 1."""
        return 0 if self.identical else 1

    def render(self, console: ResultConsole) -> None:
        """Print the verdict."""
        first = self.first_difference
        verdict = "the same" if first is None else f"they differ, starting at decision {first}"
        console.print_line(f"{self.decisions} decisions under {self.policy}: {verdict}")


@dataclass(frozen=True, slots=True)
class SimulatedAges:
    """Ages of the answers in milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class SimulatedLoop:
    """Statistics of a loop in simulated time."""

    frames: int
    """Number of answers."""
    drops: dict[str, int]
    """Number of dropped frames for each reason."""
    age_ms: SimulatedAges

    @classmethod
    def from_outcome(cls, outcome: Outcome) -> SimulatedLoop:
        """Summarise the decisions of a simulation."""
        from orilla.runtime.loop.quantiles import Quantiles

        ages = Quantiles()
        for answer in outcome.delivered:
            ages.add(answer.age_ms)
        drops = Counter(str(reason) for _, _, reason in outcome.dropped)
        p50, p99 = ages.at(50, 99)
        age_ms = SimulatedAges(round(p50, 3), round(p99, 3), round(ages.max, 3))
        return cls(len(outcome.delivered), dict(drops), age_ms)

    def row(self, label: str) -> str:
        """Return one line of the table, which begins with a label."""
        ages = f"{self.age_ms.p50:>12.1f}{self.age_ms.p99:>9.1f}{self.age_ms.max:>9.1f}"
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.drops.items())
        return f"{label:<20}{self.frames:>9}{ages}  {reasons or 'none'}"


@dataclass(frozen=True, slots=True)
class ReplaySimulation(CommandResult):
    """Results of two simulations: one with the recorded settings, and one with the requested settings."""

    policy: str
    """The recorded policy."""
    models: dict[str, str]
    """Variant and engine of each model. The keys are the names."""
    simulated: dict[str, SimulatedLoop]
    """The loops by policy. The loop with the recorded settings has the name `recorded`."""

    def render(self, console: ResultConsole) -> None:
        """Print a table."""
        console.print_line(f"{'in simulated time':<20}{'answers':>9}{'age p50 ms':>12}{'p99':>9}{'max':>9}  dropped")
        for name, loop in self.simulated.items():
            console.print_line(loop.row(f"{self.policy} (recorded)" if name == RECORDED else name))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("recording", help="recording that orilla run --record wrote")
    parser.add_argument("--policy", help="simulate another policy: latest, every, rate:HZ or deadline:MS")
    parser.add_argument("--infer-ms", type=float, help="simulate inferences that take this many milliseconds")


def execute(arguments: argparse.Namespace) -> ReplayCheck | ReplaySimulation:
    """Replay a recording, or simulate its loop with another policy or inference time."""
    from orilla.runtime.loop.policy import Policy
    from orilla.runtime.loop.replay import Replay

    policy = Policy.parse(arguments.policy) if arguments.policy else None
    infer_ms: float | None = arguments.infer_ms
    if infer_ms is not None and not 0 <= infer_ms < 1e6:
        msg = f"--infer-ms {infer_ms:g}: must be 0 to 1000000 milliseconds"
        raise ConfigError(msg)
    replay = Replay.read(arguments.recording)
    header = replay.header
    if policy is None and infer_ms is None:
        recorded, repeated = replay.recorded_decisions().splitlines(), replay.repeated_decisions().splitlines()
        pairs = enumerate(zip_longest(recorded, repeated))
        differing = next((index for index, (before, now) in pairs if before != now), None)
        return ReplayCheck(header.policy, header.models, len(recorded), differing is None, differing)
    simulated = {RECORDED: replay.simulate(), str(policy or "same policy"): replay.simulate(policy, infer_ms=infer_ms)}
    loops = {name: SimulatedLoop.from_outcome(outcome) for name, outcome in simulated.items()}
    return ReplaySimulation(header.policy, header.models, loops)

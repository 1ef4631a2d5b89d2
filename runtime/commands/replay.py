"""The command `orilla replay`: repeat a recording's decisions, or simulate another policy."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.quantiles import Quantiles
from orilla.runtime.loop.replay import Replay
from orilla.runtime.loop.simulate import Outcome

if TYPE_CHECKING:
    from orilla.runtime.terminal import ResultConsole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("recording", help="file of orilla run --record")
    parser.add_argument("--policy", help="simulate another policy: latest, every, rate:HZ or deadline:MS")
    parser.add_argument("--infer-ms", type=float, help="simulate this time of each inference, milliseconds")


@dataclass(frozen=True, slots=True)
class Age:
    """Percentiles of the age of answers in milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of a simulated loop."""

    frames: int
    drops: dict[str, int]
    age_ms: Age


@dataclass(frozen=True, slots=True)
class ReplayResult(CommandResult):
    """Either a comparison of the decisions of today's loop with the recorded ones, or a simulation."""

    optional = ("decisions", "identical", "simulated")

    policy: str
    models: dict[str, str]
    decisions: int | None = None
    """Number of recorded decisions; None for a simulation."""
    identical: bool | None = None
    first_difference: int | None = None
    """Number of the first decision that differs."""
    simulated: dict[str, Figures] | None = None
    """Figures under the recorded policy and under the requested one; None for a comparison."""

    @property
    def exit_code(self) -> int:
        """Return 1 if today's loop decides differently, else 0."""
        return 1 if self.identical is False else 0

    def to_json(self) -> dict[str, object]:
        """Return the JSON document, as docs/json.md describes it."""
        document = CommandResult.to_json(self)
        if self.simulated is not None:
            del document["first_difference"]
        return document

    def render(self, console: ResultConsole) -> None:
        """Print the verdict, or the recorded and the simulated figures."""
        if self.simulated is None:
            verdict = "the same" if self.identical else f"different from line {self.first_difference} on"
            console.print_line(f"{self.decisions} decisions under {self.policy}: {verdict}")
            return
        console.print_line(f"{'in simulated time':<20}{'answers':>9}{'age p50 ms':>12}{'p99':>9}{'max':>9}  dropped")
        for name, figures in self.simulated.items():
            age, drops = figures.age_ms, ", ".join(f"{count} {reason}" for reason, count in figures.drops.items())
            label = f"{self.policy} (recorded)" if name == "recorded" else name
            ages = f"{age.p50:>12.1f}{age.p99:>9.1f}{age.max:>9.1f}"
            console.print_line(f"{label:<20}{figures.frames:>9}{ages}  {drops or 'none'}")


def execute(arguments: argparse.Namespace) -> ReplayResult:
    """Replay a recording, or simulate another policy or inference time."""
    policy = Policy.parse(arguments.policy) if arguments.policy else None
    if arguments.infer_ms is not None and not 0 <= arguments.infer_ms < 1e6:
        msg = f"--infer-ms {arguments.infer_ms:g}: must be 0 to 1000000 milliseconds"
        raise ConfigError(msg)
    replay = Replay.read(arguments.recording)
    if policy is None and arguments.infer_ms is None:
        return _compare(replay)
    outcomes = {
        "recorded": replay.simulate(),
        str(policy or "same policy"): replay.simulate(policy, infer_ms=arguments.infer_ms),
    }
    simulated = {name: _figures(outcome) for name, outcome in outcomes.items()}
    return ReplayResult(replay.header.policy, replay.header.models, simulated=simulated)


def _compare(replay: Replay) -> ReplayResult:
    recorded, today = replay.recorded_decisions().splitlines(), replay.repeated_decisions().splitlines()
    pairs = enumerate(zip(recorded, today, strict=False))
    difference = next((number for number, (before, now) in pairs if before != now), None)
    if difference is None and len(recorded) != len(today):
        difference = min(len(recorded), len(today))
    return ReplayResult(
        replay.header.policy, replay.header.models, len(recorded), difference is None, first_difference=difference
    )


def _figures(outcome: Outcome) -> Figures:
    ages = Quantiles()
    for answer in outcome.delivered:
        ages.add(answer.age_ms)
    drops: Counter[str] = Counter(reason for _, _, reason in outcome.dropped)
    p50, p99 = ages.at(50, 99)
    return Figures(len(outcome.delivered), dict(drops), Age(round(p50, 3), round(p99, 3), round(ages.max, 3)))

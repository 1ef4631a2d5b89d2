"""The command `orilla replay`: repeat a recording's decisions, or simulate another policy."""

from __future__ import annotations

import argparse
from typing import Any

from orilla.devices.errors import ConfigError
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.quantiles import Quantiles
from orilla.runtime.loop.replay import Replay
from orilla.runtime.loop.simulate import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("recording", help="file of orilla run --record")
    parser.add_argument("--policy", help="simulate another policy: latest, every, rate:HZ or deadline:MS")
    parser.add_argument("--infer-ms", type=float, help="simulate this time of each inference, milliseconds")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Replay a recording. The exit code is 1 if today's loop decides differently."""
    policy = Policy.parse(arguments.policy) if arguments.policy else None
    if arguments.infer_ms is not None and not 0 <= arguments.infer_ms < 1e6:
        msg = f"--infer-ms {arguments.infer_ms:g}: must be 0 to 1000000 milliseconds"
        raise ConfigError(msg)
    replay = Replay.read(arguments.recording)
    document: dict[str, object] = {"policy": replay.header.policy, "models": replay.header.models}
    if policy is None and arguments.infer_ms is None:
        then, now = replay.recorded_decisions().splitlines(), replay.repeated_decisions().splitlines()
        differs = next((place for place, pair in enumerate(zip(then, now, strict=False)) if pair[0] != pair[1]), None)
        if differs is None and len(then) != len(now):
            differs = min(len(then), len(now))
        document |= {"decisions": len(then), "identical": differs is None, "first_difference": differs}
        return 0 if differs is None else 1, document
    asked = replay.simulate(policy, infer_ms=arguments.infer_ms)
    document |= {"simulated": {"recorded": _figures(replay.simulate()), str(policy or "same policy"): _figures(asked)}}
    return 0, document


def _figures(outcome: Outcome) -> dict[str, object]:
    ages = Quantiles()
    for one in outcome.delivered:
        ages.add(one.age_ms)
    drops: dict[str, int] = {}
    for _, _, reason in outcome.dropped:
        drops[reason] = drops.get(reason, 0) + 1
    p50, p99 = ages.at(50, 99)
    age = {"p50": round(p50, 3), "p99": round(p99, 3), "max": round(ages.max, 3)}
    return {"frames": len(outcome.delivered), "drops": drops, "age_ms": age}


def show(document: dict[str, Any]) -> None:
    """Print the verdict, or the recorded and the simulated figures."""
    if "identical" in document:
        verdict = "the same" if document["identical"] else f"different from line {document['first_difference']} on"
        print(f"{document['decisions']} decisions under {document['policy']}: {verdict}")
        return
    print(f"{'in simulated time':<20}{'answers':>9}{'age p50 ms':>12}{'p99':>9}{'max':>9}  dropped")
    for name, found in document["simulated"].items():
        age, reasons = found["age_ms"], ", ".join(f"{count} {reason}" for reason, count in found["drops"].items())
        label = f"{document['policy']} (recorded)" if name == "recorded" else name
        ages = f"{age['p50']:>12.1f}{age['p99']:>9.1f}{age['max']:>9.1f}"
        print(f"{label:<20}{found['frames']:>9}{ages}  {reasons or 'none'}")

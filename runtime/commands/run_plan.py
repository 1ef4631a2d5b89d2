"""Results of `orilla run --dry-run` and `orilla run --print-config`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orilla.devices.names import without_secrets
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.sources.registry import kind_of, preview

if TYPE_CHECKING:
    from orilla.runtime.loop.policy import Policy
    from orilla.runtime.runner import Runner
    from orilla.runtime.terminal.console import ResultConsole


@dataclass(frozen=True, slots=True)
class PrintedConfig(CommandResult):
    """The options of a command line as a configuration file."""

    config: str

    def render(self, console: ResultConsole) -> None:
        """Print the configuration file."""
        for line in self.config.splitlines():
            console.print_line(line)


@dataclass(frozen=True, slots=True)
class Plan(CommandResult):
    """Description of what `orilla run` would do.

    The command queries camera drivers, but starts no source or sink.
    """

    models: dict[str, str]
    """Variant and engine of each model, as `VARIANT on ENGINE`. The keys are the names of the models."""
    notes: list[str]
    """Reasons for the choice of variant and engine. Empty if the defaults of the bundle are used."""
    sources: dict[str, dict[str, str]]
    """`spec`, `kind` and `policy` of each source, by name, and `settings` for a camera with options."""
    sinks: list[str]
    workers: int
    """Maximum number of inference workers for a recorded source under the policy `every`."""
    rungs: list[str] = field(default_factory=list)
    """Names of the ladder's rungs, starting with the best. Empty if there is no ladder."""

    @classmethod
    def of(
        cls, runner: Runner, sources: Mapping[str, str], policies: Mapping[str, Policy], sinks: Sequence[str]
    ) -> Plan:
        """Return the plan for a model that has been opened."""
        rows = {
            name: {
                "spec": without_secrets(spec),
                "kind": (kind_of(spec) or "unknown") if runner.takes_images else runner.kind,
                "policy": str(policies[name]) if name in policies else "default: latest if live, every if recorded",
            }
            for name, spec in sources.items()
        }
        if runner.takes_images:
            for name, spec in sources.items():
                if (settings := preview(spec)) is not None:
                    rows[name]["settings"] = settings
        workers = runner.max_workers if len(sources) == 1 else 1
        return cls(runner.describe(), runner.notes(), rows, [without_secrets(sink) for sink in sinks], workers)

    def render(self, console: ResultConsole) -> None:
        """Print one line per model, source and sink."""
        for name, text in self.models.items():
            console.print_line(f"model {name}: {text}")
        for note in self.notes:
            console.print_line(f"  {note}")
        for name, row in self.sources.items():
            label = f"source {name}" if name else "source"
            console.print_line(f"{label}: {row['spec']} ({row['kind']}), policy {row['policy']}")
            if "settings" in row:
                console.print_line(f"  {row['settings']}")
        if self.workers > 1:
            console.print_line(
                f"inference: up to {self.workers} workers if the source is recorded and the policy is every, else 1"
            )
        if self.rungs:
            console.print_line(f"ladder: {', '.join(self.rungs)}")
        for sink in self.sinks:
            console.print_line(f"sink: {sink}")

"""The command `orilla verify`: check that a bundle gives the same results on this machine as at export."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orilla.devices.budget import SHIPPED, read_budgets
from orilla.devices.errors import ConfigError
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.commands.tables import print_tables
from orilla.runtime.commands.trust_options import add_trust

if TYPE_CHECKING:
    from orilla.runtime.bench.budgets.limits import LimitResult
    from orilla.runtime.bench.budgets.measurement import BudgetTarget
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.signature import Signed
    from orilla.runtime.evaluation.datasets import Dataset
    from orilla.runtime.terminal.console import ResultConsole
    from orilla.runtime.verify import VariantVerdict


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose what `orilla verify` and `orilla deploy` verify."""
    parser.add_argument("--variant", help="verify only this variant (default: all)")
    parser.add_argument("--engine", help="engine, as listed by orilla devices (default: each variant's own)")
    parser.add_argument(
        "--budget",
        nargs="?",
        const=SHIPPED,
        type=Path,
        metavar="F.toml",
        help="compare time, accuracy, size and memory with the budgets in a file, as in docs/ci.md "
        "(default: the shipped file)",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "bundle", help="path of a bundle, or the name of a shipped one: road, convnet, mobilenet, sentiment"
    )
    parser.add_argument(
        "--data",
        help="also measure the accuracy on this data set (its split val, else test); values as for orilla train --data",
    )
    add_trust(parser)
    parser.add_argument(
        "--other-bundle", action="store_true", help="with --trust: accept that another bundle was at this path before"
    )
    add_selection(parser)
    parser.add_argument(
        "--markdown", action="store_true", help="print tables as Markdown, for a comment on a pull request"
    )


@dataclass(frozen=True, slots=True)
class VerifyResult(CommandResult):
    """The verdicts on a bundle, its variants and its budgets."""

    hidden = ("as_markdown",)

    bundle: str
    verdict: Literal["pass", "fail"]
    files: int
    """Number of checked files."""
    signed: Signed | None
    """The checked signature. None without `--trust`."""
    variants: list[VariantVerdict]
    budgets: list[LimitResult]
    """Limits of the budgets. Empty without `--budget`."""
    as_markdown: bool
    """If True, tables are printed as Markdown."""

    @property
    def exit_code(self) -> int:
        """Return 0 if every variant passes and every budget is met, else 1."""
        return 0 if self.verdict == "pass" else 1

    def render(self, console: ResultConsole) -> None:
        """Print a row for each variant and each limit, and a line for each stage that failed."""
        from orilla.runtime.bench.report.lines import BUDGET_HEADER, budget_row

        rows, lines = [], []
        for verdict in self.variants:
            word = "skipped" if verdict.skipped else "pass" if verdict.passed else "FAIL"
            agreeing = ", ".join(stage.name for stage in verdict.stages if stage.passed)
            rows.append([verdict.variant, verdict.engine, word, verdict.skipped or agreeing])
            lines += [
                f"{verdict.variant}: {'ok' if stage.passed else 'FAIL'} {stage.name}: {stage.detail}"
                for stage in verdict.stages
                if not stage.passed or stage.name == "accuracy"
            ]
        title = f"{self.bundle}: the sizes and hashes of {self.files} files are correct"
        tables = [(title, ["variant", "engine", "verdict", "passed stages"], rows)]
        if self.budgets:
            name = self.budgets[0].bundle
            tables.append((f"budgets of {name}", BUDGET_HEADER, [budget_row(limit) for limit in self.budgets]))
            lines += [f"FAIL {limit.reason}" for limit in self.budgets if limit.reason]
        if self.signed is not None:
            lines.append(f"signed by {self.signed.key[:16]}, counter {self.signed.counter}")
        lines.append(f"verdict: {self.verdict}")
        print_tables(console, tables, lines, as_markdown=self.as_markdown, text_columns=4)


def execute(arguments: argparse.Namespace) -> VerifyResult:
    """Verify the bundle, and compare it with its budgets."""
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.trust import Trust
    from orilla.runtime.evaluation.accuracy import open_labelled
    from orilla.runtime.verify import verify

    accepts = arguments.other_bundle
    trust = Trust.read(arguments.trust, accept_other=accepts, remember=accepts)
    bundle = Bundle.open(arguments.bundle, trust=trust)
    manifest = bundle.manifest
    targets = _targets(arguments.budget, bundle) if arguments.budget is not None else []
    variants = manifest.variants if arguments.variant is None else (manifest.variant(arguments.variant),)
    dataset = open_labelled(arguments.data, manifest) if arguments.data is not None else None
    verdicts = verify(bundle, variants, dataset, engine=arguments.engine)
    if all(verdict.skipped for verdict in verdicts):
        msg = f"nothing to verify: {verdicts[0].skipped}"
        raise ConfigError(msg)
    limits = _judge(targets, dataset)
    passed = all(verdict.passed for verdict in verdicts if verdict.skipped is None)
    return VerifyResult(
        bundle=str(bundle.path),
        verdict="pass" if passed and all(limit.passed for limit in limits) else "fail",
        files=len(manifest.files),
        signed=bundle.signed,
        variants=verdicts,
        budgets=limits,
        as_markdown=arguments.markdown,
    )


def _targets(path: Path, bundle: Bundle) -> list[BudgetTarget]:
    """Return the budgets that apply to the bundle. Raises `ConfigError` for an invalid budget."""
    from orilla.runtime.bench.budgets.live import applying
    from orilla.runtime.bench.budgets.measurement import budget_target

    return [budget_target(budget, bundle) for budget in applying(read_budgets(path), bundle, path)]


def _judge(targets: list[BudgetTarget], dataset: Dataset | None) -> list[LimitResult]:
    from orilla.runtime.bench.budgets.live import judge
    from orilla.runtime.bench.budgets.measurement import Measurement
    from orilla.runtime.terminal.progress import TerminalProgress

    limits: list[LimitResult] = []
    with TerminalProgress() as progress:
        for target in targets:
            limits += judge(Measurement(target, dataset=dataset, progress=progress))
    return limits

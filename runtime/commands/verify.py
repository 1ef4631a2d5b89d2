"""The command `orilla verify`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orilla.devices.budget import SHIPPED, read_budgets
from orilla.devices.errors import ConfigError
from orilla.runtime.bench.budgets.limits import LimitResult
from orilla.runtime.bench.budgets.live import applying, judge
from orilla.runtime.bench.budgets.measurement import BudgetTarget, Measurement, budget_target
from orilla.runtime.bench.report.lines import BUDGET_HEADER, budget_row
from orilla.runtime.bench.report.terminal import show_tables
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.evaluation.accuracy import open_labelled
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.terminal_progress import TerminalProgress
from orilla.runtime.verify import VariantVerdict, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "bundle", help="path of a bundle, or the name of a shipped one: road, convnet, mobilenet, sentiment"
    )
    parser.add_argument(
        "--data",
        help="also measure accuracy on this data set, as for orilla train (its val split, else its test split)",
    )
    parser.add_argument("--variant", help="verify only this variant (default: all)")
    parser.add_argument("--engine", help="engine of orilla devices (default: each variant's own)")
    parser.add_argument(
        "--budget",
        nargs="?",
        const=SHIPPED,
        type=Path,
        metavar="F.toml",
        help="check time, accuracy, size and memory against a file of budgets (docs/ci.md; default: the shipped ones)",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print tables as Markdown, for a comment on a pull request"
    )


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Verify the bundle. The exit code is 0 if every variant passes and every budget is met, else 1."""
    bundle = Bundle.open(arguments.bundle)
    manifest = bundle.manifest
    targets = _targets(arguments.budget, bundle) if arguments.budget is not None else []
    variants = manifest.variants if arguments.variant is None else (manifest.variant(arguments.variant),)
    dataset = open_labelled(arguments.data, manifest) if arguments.data is not None else None
    verdicts = verify(bundle, variants, dataset, engine=arguments.engine)
    if all(verdict.skipped for verdict in verdicts):
        msg = f"nothing to verify: {verdicts[0].skipped}"
        raise ConfigError(msg)
    ran = [verdict for verdict in verdicts if verdict.skipped is None]
    judged = _judge(targets, dataset)
    passed = all(verdict.passed for verdict in ran) and all(one.passed for one in judged)
    return 0 if passed else 1, {
        "bundle": str(bundle.path),
        "verdict": "pass" if passed else "fail",
        "files": len(manifest.files),
        "variants": verdicts,
        "budgets": judged,
        "markdown": arguments.markdown,
    }


def _targets(path: Path, bundle: Bundle) -> list[BudgetTarget]:
    """Return the targets of the bundle's budgets. Invalid ones are rejected before anything is measured."""
    return [budget_target(budget, bundle) for budget in applying(read_budgets(path), bundle, path)]


def _judge(targets: list[BudgetTarget], dataset: Dataset | None) -> list[LimitResult]:
    judged: list[LimitResult] = []
    if targets:
        with TerminalProgress() as progress:
            for subject in targets:
                judged += judge(Measurement(subject, dataset=dataset, progress=progress))
    return judged


def show(document: dict[str, Any]) -> None:
    """Print one row per variant and limit, and every stage of a failure."""
    verdicts: list[VariantVerdict] = document["variants"]
    judged: list[LimitResult] = document["budgets"]
    rows, lines = [], []
    for verdict in verdicts:
        word = "skipped" if verdict.skipped else "pass" if verdict.passed else "FAIL"
        agreed = ", ".join(stage.name for stage in verdict.stages if stage.passed)
        rows.append([verdict.variant, verdict.engine, word, verdict.skipped or agreed])
        lines += [
            f"{verdict.variant}: {'ok' if stage.passed else 'FAIL'} {stage.name}: {stage.detail}"
            for stage in verdict.stages
            if not stage.passed or stage.name == "accuracy"
        ]
    title = f"{document['bundle']}: {document['files']} files, sizes and hashes right"
    tables = [(title, ["variant", "engine", "verdict", "stages that agree"], rows)]
    if judged:
        tables.append((f"budgets of {judged[0].bundle}", BUDGET_HEADER, [budget_row(one) for one in judged]))
        lines += [f"FAIL {one.reason}" for one in judged if one.reason]
    show_tables(tables, [*lines, f"verdict: {document['verdict']}"], as_markdown=document["markdown"], text_columns=4)

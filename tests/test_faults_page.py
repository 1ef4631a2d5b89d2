"""The page docs/faults.md and the tests of faults belong together: every row has a test, and every test has a row."""

import ast
import re
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from orilla.runtime.frame import EventKind
from orilla.runtime.loop.scheduler import Reason

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "faults.md").read_text()
MATRIX = "tests/runtime/loop/test_faults.py"
COUNTERS = {"events", "accelerator", "sinks.failed", "sinks.dropped", *(f"drops.{name}" for name in get_args(Reason))}
STAGES = ["source", "engine", "sink", "program"]


class Row(NamedTuple):
    """A row of the page."""

    name: str
    fault: str
    answer: str
    events: str
    counters: str
    test: str


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


ROWS = [Row(*cells(line)) for line in PAGE.splitlines() if re.match(r"\| [A-Z]\d ", line)]


def source_of(test):
    """Return the code of a test, with its decorators and the constants and functions of its module that it uses."""
    path, _, name = test.strip("`").partition("::")
    text = (ROOT / path).read_text()
    known = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            known[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = node
    assert name in known, f"{path} has no test {name}"
    used = {part.id for part in ast.walk(known[name]) if isinstance(part, ast.Name)} & known.keys()
    nodes = [known[name], *known[name].decorator_list, *(known[other] for other in used)]
    return "\n".join(ast.get_source_segment(text, node) or "" for node in nodes)


def quoted(text):
    return re.findall(r"`([^`]+)`", text)


def test_the_page_has_rows():
    assert len(ROWS) > 25
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_has_a_test_that_checks_its_events(row):
    test = source_of(row.test)
    assert "assert" in test or "raises" in test
    assert row.fault
    assert row.answer
    for kind in quoted(row.events):
        assert kind in get_args(EventKind)
        assert f'"{kind}"' in test, f"{row.name}: the test does not mention the event {kind}"
    for counter in quoted(row.counters):
        assert counter in COUNTERS
        group, _, key = counter.partition(".")
        word = {"sinks": key, "drops": key, "events": "events", "accelerator": "counts"}[group]
        assert word in test, f"{row.name}: the test does not mention {counter}"


def test_every_test_of_the_matrix_has_a_row():
    tree = ast.parse((ROOT / MATRIX).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    named = {row.test.strip("`").partition("::")[2] for row in ROWS if row.test.startswith(f"`{MATRIX}")}
    assert tests == named


def test_the_overview_names_every_row_once_or_more():
    table = PAGE.partition("## Overview")[2].partition("\n## ")[0]
    lines = [cells(line) for line in table.splitlines() if line.startswith("|")]
    assert lines[0] == ["fault", *STAGES]
    named = {name for line in lines[2:] for cell in line[1:] for name in cell.split(", ") if cell != "-"}
    assert named == {row.name for row in ROWS}
    assert all(len(line) == len(STAGES) + 1 for line in lines)

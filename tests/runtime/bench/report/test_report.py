"""The report page contains all documented sections, and refers to nothing that must be downloaded."""

import re

import pytest
from helpers.results import made

from orilla.devices.budget import budget_of
from orilla.runtime.bench import result
from orilla.runtime.bench.budgets.from_results import judge_result
from orilla.runtime.bench.monitor import Second
from orilla.runtime.bench.report.report import page
from orilla.runtime.cli import main


def heated(ms, **more):
    timeline = [Second(float(at), 40.0 + at, 1500.0 - 10 * at, 3.5, 1.0, 0.1, 0.0) for at in range(1, 9)]
    return made(ms, timeline=tuple(timeline), joules=28.0, energy_source="INA sensors, board", **more)


def test_two_runs_side_by_side(tmp_path):
    runs = [heated(8.0, variant="litert_fp32"), heated(4.0, seed=1)]
    budgets = [budget_of({"bundle": "road", "variant": "litert_wi8_ai8", "p50_ratio": 0.3, "memory_mib": 30})]
    judged = [limit for budget in budgets for run in runs for limit in judge_result(budget, run, runs)]
    page(runs, tmp_path / "page.html", judged)
    text = (tmp_path / "page.html").read_text()
    for heading in ("Distribution", "Comparison", "Budgets", "Run: litert_fp32", "Run: litert_wi8_ai8"):
        assert f"<h2>{heading}</h2>" in text
    assert text.count("<svg") == 4
    for word in ("°C", "MHz", "99.9 %", "EXCEEDED", "met", "mJ per frame", "prefers-color-scheme: dark"):
        assert word in text
    assert "var(--line1)" in text
    assert "currentColor" in text
    addresses = {address for address in re.findall(r"https?://[^\"'\s<)]+", text) if "www.w3.org" not in address}
    assert not addresses, "it opens offline"
    assert not re.search(r"<(script|link|img)", text)
    assert len(text) < 1_500_000


def test_runs_of_different_machines_are_named_by_them(tmp_path, capsys):
    for name, machine in (("a", "board"), ("b", "laptop")):
        result.write(tmp_path / f"{name}.json", made(machine=machine))
    out = tmp_path / "r.html"
    assert main(["report", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(out)]) == 0
    assert "Run: laptop, aarch64" in out.read_text()
    assert "2 results" in capsys.readouterr().out
    assert main(["report", str(tmp_path), "--out", str(out)]) == 0


def test_a_loop_shows_its_stages(tmp_path):
    words = ["bench", "run", "probe", "--scenario", "loop", "--seconds", "1", "--report", str(tmp_path / "r.html")]
    assert main(words) in (0, 3)  # 3: the machine was disturbed
    text = (tmp_path / "r.html").read_text()
    assert "Stages of the loop" in text
    assert "prepare" in text


def test_a_broken_budget_fails_the_command(tmp_path, capsys):
    result.write(tmp_path / "a.json", made(4.0))
    (tmp_path / "b.toml").write_text('[[budget]]\nbundle = "road"\nmemory_mib = 5\n')
    words = [
        "report",
        str(tmp_path / "a.json"),
        "--out",
        str(tmp_path / "r.html"),
        "--budget",
        str(tmp_path / "b.toml"),
    ]
    assert main(words) == 1
    assert "FAIL road litert_wi8_ai8: memory_mib is 21.0 MiB" in capsys.readouterr().out
    (tmp_path / "b.toml").write_text('[[budget]]\nbundle = "other"\nmemory_mib = 5\n')
    assert main(words) == 2
    assert "none of its limits applies to these results" in capsys.readouterr().err


def test_hostile_names_stay_text(tmp_path):
    page([made(variant="<script>alert(1)</script>"), made()], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "<script" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.json"], "cannot read missing.json"),
        (["{made}", "--out", "page.txt"], "give a file NAME.html"),
        (["{made}", "--out", "missing/r.html"], "does not exist"),
    ],
)
def test_what_is_refused(tmp_path, capsys, words, message):
    result.write(tmp_path / "a.json", made())
    assert main(["report", *(word.format(made=tmp_path / "a.json") for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_a_page_begins_with_the_reasons_why_a_run_is_not_valid(tmp_path):
    page([heated(4.0, valid=False, invalid=("the CPU was throttled",))], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.index("NOT VALID: the CPU was throttled") < text.index("<table")


def test_plots_are_scrolled_on_a_phone_instead_of_shrunk(tmp_path):
    """The text of a plot has at least 12 pixels at its minimum width."""
    page([heated(4.0)], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    plots = re.findall(r'<svg style="min-width: ([\d.]+)rem;[^>]*viewBox="0 0 ([\d.]+) ', text)
    assert len(plots) == text.count("<svg") > 0
    for minimum, width in plots:
        scale = 16 * float(minimum) / float(width)
        sizes = {float(size) for size in re.findall(r"font: ([\d.]+)px", text)}
        assert sizes
        assert min(sizes) * scale >= 12, (sizes, scale)

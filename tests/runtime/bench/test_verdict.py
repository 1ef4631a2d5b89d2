"""Comparison of results: the verdict, the interval of the change, and results that cannot be compared."""

import json
import re

import numpy as np
import pytest
from helpers.results import made
from msgspec import structs

from orilla.devices.errors import ConfigError
from orilla.runtime.bench import result
from orilla.runtime.bench.report.history import trends
from orilla.runtime.bench.verdict import compare
from orilla.runtime.cli import main


def test_the_same_again_is_the_same():
    for seed in range(20):
        verdict = compare([made(seed=seed)], [made(seed=100 + seed)])
        assert verdict.verdict == "same"
        assert abs(verdict.percent) < 1


@pytest.mark.parametrize(("ms", "word"), [(4.4, "slower"), (3.6, "faster"), (4.08, "same"), (3.92, "same")])
def test_a_tenth_is_found_and_a_fiftieth_does_not_matter(ms, word):
    for seed in range(20):
        verdict = compare([made(4.0, seed=seed)], [made(ms, seed=100 + seed)])
        assert verdict.verdict == word
        assert verdict.percent == pytest.approx(100 * (ms / 4.0 - 1), abs=0.5)
        assert 0 < verdict.plus_minus < 0.5


def test_the_interval_holds_what_it_says():
    """In 400 comparisons of two runs that differ by 7 %, about 95 % of the intervals contain this difference."""
    held = 0
    for seed in range(400):
        verdict = compare([made(4.0, count=500, seed=seed)], [made(4.28, count=500, seed=1000 + seed)])
        held += abs(verdict.percent - 7.0) <= verdict.plus_minus
    assert 0.93 <= held / 400 <= 0.985


def test_what_is_uncertain_is_not_called_slower():
    """If the clock frequency varies, there are few effective samples, so a difference of 5 % may be due to chance."""
    rng = np.random.default_rng(0)

    def wandering(ms):
        times = (ms * (1 + np.repeat(rng.normal(0, 0.08, 20), 100))).tolist()
        from orilla.runtime.bench.samples import summarise

        return made(samples_ms={"infer": times}, summary={"infer": summarise(times)})

    verdict = compare([wandering(4.0)], [wandering(4.2)])
    assert verdict.verdict == "same"
    assert verdict.plus_minus > 3


def test_several_runs_of_a_side_tell_how_far_runs_differ():
    a = [made(4.0 + 0.1 * index, seed=5 + index) for index in (-1, 0, 1)]
    b = [made(4.2 + 0.1 * index, seed=20 + index) for index in (-1, 0, 1)]
    assert compare(a, b).plus_minus > 2 * compare(a[1:2], b[1:2]).plus_minus


def test_tails_have_verdicts_of_their_own():
    slow_tail = made(seed=1).samples_ms["infer"]
    slow_tail[::20] = [3 * time for time in slow_tail[::20]]
    from orilla.runtime.bench.samples import summarise

    verdict = compare([made()], [made(samples_ms={"infer": slow_tail}, summary={"infer": summarise(slow_tail)})])
    assert verdict.verdict == "same"
    assert {change.percentile: change.verdict for change in verdict.changes} == {
        "p50": "same",
        "p90": "same",
        "p99": "slower",
    }


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (made(machine="laptop"), "times from different machines cannot be compared"),
        (made(scenario="offline"), "measure both with the same scenario"),
        (made(count=4), "too few samples to compare"),
    ],
)
def test_what_is_not_compared(other, message):
    with pytest.raises(ConfigError, match=message):
        compare([made()], [other])


def test_runs_of_different_machines_are_not_merged():
    with pytest.raises(ConfigError, match="runs on board and on laptop cannot be merged"):
        result.merge([made(), made(machine="laptop")])
    with pytest.raises(ConfigError, match="litert_fp32"):
        result.merge([made(), made(variant="litert_fp32")])
    merged = result.merge([made(seed=1), made(seed=2)])
    assert merged.main.count == 4000
    assert merged.at_s == sorted(merged.at_s)


def test_the_samples_count_not_a_summary_beside_them(tmp_path):
    interval, slow = made(), made(5.0)
    result.write(tmp_path / "a.json", interval)
    result.write(tmp_path / "b.json", structs.replace(slow, summary=interval.summary))
    assert compare(result.read_all(tmp_path / "a.json"), result.read_all(tmp_path / "b.json")).verdict == "slower"


def test_what_differs_and_what_was_disturbed_is_noted():
    verdict = compare([made()], [made(variant="litert_fp32", valid=False, invalid=("busy",))])
    assert verdict.notes == ("variant: litert_wi8_ai8 in A, litert_fp32 in B",)
    assert verdict.invalid == ("B: busy",)


def test_the_command(tmp_path, capsys):
    paths = {name: tmp_path / f"{name}.json" for name in ("a", "b", "c")}
    for (path, ms), seed in zip({paths["a"]: 4.0, paths["b"]: 4.02, paths["c"]: 4.5}.items(), range(3), strict=True):
        result.write(path, made(ms, seed=seed))
    assert main(["bench", "compare", str(paths["a"]), str(paths["b"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "same"
    assert main(["bench", "compare", str(paths["a"]), str(paths["c"]), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "slower"
    assert main(["bench", "compare", str(paths["a"]), str(paths["c"]), "--margin", "20"]) == 0
    assert "B is as fast as A" in capsys.readouterr().out
    assert main(["bench", "compare", str(paths["c"]), str(paths["a"]), "--markdown"]) == 0
    output = capsys.readouterr().out
    assert "| p50 | 4.50 | 4.00 | 11." in output
    assert "% faster | faster |" in output
    assert "- verdict: B is faster than A, by 11." in output
    (tmp_path / "runs").mkdir()
    for seed in range(3):
        result.write(tmp_path / "runs" / f"{seed}.json", made(4.0, seed=seed))
    assert main(["bench", "compare", str(tmp_path / "runs"), str(paths["c"])]) == 1
    assert main(["bench", "compare", str(paths["a"]), str(paths["b"]), "--margin", "-1"]) == 2


def test_a_history_has_a_line_for_each_thing_and_machine(tmp_path, capsys):
    for day, ms in enumerate((4.0, 4.01, 4.6), 1):
        result.keep(tmp_path, made(ms, seed=day, created=f"2026-01-0{day}T00:00:00+00:00"))
    result.keep(tmp_path, made(9.0, machine="laptop"))
    # Two results from the same second get different file names.
    result.keep(tmp_path, made(9.0, machine="laptop"))
    board, laptop = trends(tmp_path)
    assert [round(ms, 1) for ms in board.p50_ms] == [4.0, 4.0, 4.6]
    assert board.last.verdict == "slower"
    assert laptop.last.verdict == "same"
    assert main(["bench", "history", str(tmp_path)]) == 0
    assert "▁▁█" in capsys.readouterr().out


def test_the_history_grows_with_each_run(tmp_path, capsys):
    for _ in range(2):
        assert main(["bench", "run", "probe", "--seconds", "0.5", "--history", str(tmp_path / "h"), "--json"]) in (0, 3)
        document = json.loads(capsys.readouterr().out)
    (trend,) = document["trends"]
    assert len(trend["p50_ms"]) == 2


def test_invalid_runs_are_named_first_and_end_with_code_3(tmp_path, capsys):
    for name, ms in (("a", 8.0), ("b", 4.0)):
        result.write(tmp_path / f"{name}.json", made(ms, valid=False, invalid=("another process was busy",)))
    assert main(["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["NOT VALID: A: another process was busy", "NOT VALID: B: another process was busy"]
    assert "do not rely on it" in lines[-1]
    (row,) = [line for line in lines if line.startswith("p50")]
    assert re.search(r"50\.\d ± 0\.\d % faster +faster", row), row

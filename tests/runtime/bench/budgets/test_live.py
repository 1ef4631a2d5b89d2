"""Budgets with real measurements: if a limit is exceeded, `orilla verify` and pytest fail and state the reason."""

import json
import platform
import time

import numpy as np
import pytest
from helpers import factories
from helpers.results import made

from orilla.devices.budget import budget_of
from orilla.devices.detect import Machine
from orilla.devices.errors import ConfigError
from orilla.runtime.bench.budgets.from_results import judge_result
from orilla.runtime.bench.budgets.live import holds_here, judge
from orilla.runtime.bench.budgets.measurement import Measurement, budget_target
from orilla.runtime.bench.result import Accuracy
from orilla.runtime.bundle.bundle import ZOO, Bundle
from orilla.runtime.cli import main
from orilla.runtime.engines.litert import LiteRTSession
from orilla.runtime.evaluation.accuracy import open_labelled

pytest_plugins = "pytester"

HERE = f'device = "{"x86-64" if platform.machine() == "x86_64" else platform.machine()}"\n'
BREACHES = {
    "p50_ms": (HERE + "p50_ms = [0, 0.00001]", "p50_ms is 0.", "at most 1e-05 is allowed (measured 3 times)"),
    "p90_ms": (HERE + "p90_ms = [0, 0.00001]", "p90_ms is 0.", "at most 1e-05 is allowed"),
    "p99_ms": (HERE + "p99_ms = [0, 0.00001]", "p99_ms is 0.", "at most 1e-05 is allowed"),
    "p50_ratio": ("p50_ratio = 0.001", "of litert_fp32's", "at most 0.001 is allowed"),
    "p90_ratio": ("p90_ratio = 0.001", "of litert_fp32's", "at most 0.001 is allowed"),
    "p99_ratio": ("p99_ratio = 0.001", "of litert_fp32's", "at most 0.001 is allowed"),
    "start_ms": (HERE + "start_ms = [0, 0.1]", "start_ms is ", "at most 0.1 is allowed"),
    "memory_mib": ("memory_mib = 0.5", "memory_mib is ", "at most 0.5 is allowed"),
    "max_mib": ("max_mib = 0.001", "max_mib is 0.01 MiB", "at most 0.001 is allowed"),
    "size_ratio": ("size_ratio = 0.01", "size_ratio is 0.", "at most 0.01 is allowed"),
    "max_drop": ("max_drop = -1", "max_drop is +0.00 points (at export)", "at most -1 is allowed"),
    "min_agreement": ("min_agreement = 1", "min_agreement is 0.", "at least 1 is allowed"),
    "implausible": ("p50_ratio = [50, 90]", "below 50, which is implausibly good", "measured 3"),
}
"""For each key of a budget, a limit that the bundle exceeds, and two parts of the message about it."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Path of a copy of the bundle `probe`. The agreement of its default variant is slightly below 1."""
    from orilla.runtime.bundle import bundle as bundles
    from orilla.runtime.bundle.manifest import decode, encode

    original = Bundle.open("probe")
    text = json.loads(encode(original.manifest))
    for variant in text["variants"]:
        variant["check"]["agreement"] = 0.998
    path = tmp_path_factory.mktemp("probe") / "probe.orilla"
    files = {name: original.read(name) for name in original.manifest.files}
    bundles.write(path, decode(json.dumps(text).encode()), files)
    return path


@pytest.fixture
def quick(monkeypatch):
    """Shorten measurements to a tenth of a second."""
    from orilla.runtime.bench.budgets import measurement

    monkeypatch.setattr(measurement, "SECONDS", 0.1)


@pytest.mark.parametrize("name", BREACHES)
def test_each_breach_fails_verify(tmp_path, capsys, probe, quick, name):
    line, message, more = BREACHES[name]
    file = tmp_path / "b.toml"
    file.write_text(f'[[budget]]\nbundle = "probe"\n{line}\n')
    assert main(["verify", str(probe), "--variant", "litert_wi8_ai8", "--budget", str(file)]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "verdict: fail" in output
    assert message in output
    assert more in output


@pytest.mark.parametrize("name", [name for name in BREACHES if name != "implausible"])
def test_each_breach_fails_pytest(pytester, probe, name):
    line, message, more = BREACHES[name]
    given = ", ".join(line.splitlines())
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.budget(bundle={str(probe)!r}, variant="litert_wi8_ai8", seconds=0.1, {given})
        def test_budget():
            pass
        """
    )
    ended = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    ended.assert_outcomes(failed=1)
    output = ended.stdout.str()
    assert message in output
    assert more in output
    assert "1 of 1 limits are not met" in output
    assert "Traceback" not in output


def test_what_is_kept_passes(tmp_path, capsys, probe, quick):
    file = tmp_path / "b.toml"
    file.write_text(
        '[[budget]]\nbundle = "probe"\np90_ratio = [0, 50]\nmax_drop = 1\nmin_agreement = 0.9\nmax_mib = 1\n'
        f'memory_mib = 500\nsize_ratio = 2\n[[budget]]\nbundle = "probe"\n{HERE}p99_ms = [0, 500]\n'
        "start_ms = [0, 9999]\n"
        '[[budget]]\nbundle = "probe"\ndevice = "pi4"\np90_ms = 3\n'
    )
    assert main(["verify", str(probe), "--variant", "litert_wi8_ai8", "--budget", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [limit["status"] for limit in document["budgets"]] == ["met"] * 8 + ["elsewhere"]
    assert main(["verify", str(probe), "--variant", "litert_wi8_ai8", "--budget", str(file), "--markdown"]) == 0
    assert "| litert_wi8_ai8 max_mib | 0.01 MiB | at most 1 | met |" in capsys.readouterr().out


def test_the_budgets_that_ship(capsys):
    assert main(["verify", "sentiment", "--budget"]) == 0
    assert "max_drop" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('bundle = "other"\nmax_mib = 1', "has no budget for probe, only for other"),
        ('bundle = "probe"\nvariant = "litert_int4"\nmax_mib = 1', "unknown variant 'litert_int4'"),
        ('bundle = "probe"\nengine = "edgetpu"\nmax_mib = 1', "no variant for the engine `edgetpu`"),
        ('bundle = "probe"\nreference = "none.orilla"\nmax_mib = 1', "none.orilla"),
    ],
)
def test_budgets_of_what_is_not_there(tmp_path, capsys, probe, table, message):
    file = tmp_path / "b.toml"
    file.write_text(f"[[budget]]\n{table}\n")
    assert main(["verify", str(probe), "--budget", str(file)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_ratio_takes_a_full_precision_variant():
    with pytest.raises(ConfigError, match="no full-precision variant to compare with; set `reference`"):
        budget_target(budget_of({"bundle": "mobilenet", "p90_ratio": 0.5}), Bundle.open("mobilenet"))


def test_a_slow_moment_is_measured_again(monkeypatch, probe):
    """The machine is busy during the first measurement, but not during the second."""
    real, slow_until = LiteRTSession.run, [time.perf_counter() + 1.2]

    def run(self, prepared):
        output = real(self, prepared)
        while time.perf_counter() < slow_until[0]:
            time.sleep(0.002)
            break
        return output

    budget = budget_of({"bundle": "probe", "device": "x86-64", "p50_ms": [0, 1.0]})
    measurement = Measurement(budget_target(budget, Bundle.open(probe)), seconds=0.5)
    monkeypatch.setattr(LiteRTSession, "run", run)
    (limit,) = judge(measurement, machine=Machine("cpu", "x86_64", 2, 4096, "3.11"))
    assert limit.passed, limit
    assert time.perf_counter() > slow_until[0]


def test_a_board_is_known_by_its_name_and_a_computer_by_its_architecture():
    pi = Machine("Cortex-A72", "aarch64", 4, 4096, "3.11", board="Raspberry Pi 4 Model B Rev 1.5")
    pc = Machine("some CPU", "x86_64", 8, 8192, "3.11")
    assert holds_here(budget_of({"bundle": "a", "device": "pi4", "p90_ms": 1}), pi)
    assert not holds_here(budget_of({"bundle": "a", "device": "pi5", "p90_ms": 1}), pi)
    assert holds_here(budget_of({"bundle": "a", "device": "aarch64", "p90_ms": 1}), pi)
    assert not holds_here(budget_of({"bundle": "a", "device": "aarch64", "p90_ms": 1}), pc)
    assert holds_here(budget_of({"bundle": "a", "max_mib": 1}), pc)


def test_accuracy_and_agreement_on_data_come_from_both_models(picture_bundle, animals, monkeypatch):
    """The quantised variant outputs the wrong class for every second image, so both limits are exceeded."""
    opened = Bundle.open(picture_bundle)
    table = {"bundle": "tiny", "variant": "litert_wi8_ai8", "max_drop": 10, "min_agreement": 0.9}
    subject = budget_target(budget_of(table), opened)
    dataset = open_labelled(str(animals), opened.manifest)
    drop, agreement = judge(Measurement(subject, dataset=dataset))
    assert (drop.passed, agreement.passed) == (True, True)
    assert "16 samples of animals val, accuracy" in drop.figure
    real, calls = Measurement.load, [0]

    def broken(self):
        session = real(self)
        run = session.run

        def turned(prepared):
            calls[0] += 1
            outputs = run(prepared)
            return {name: array[::-1] for name, array in outputs.items()} if calls[0] % 2 else outputs

        session.run = turned
        return session

    monkeypatch.setattr(Measurement, "load", broken)
    drop, agreement = judge(Measurement(subject, dataset=dataset))
    assert (drop.status, agreement.status) == ("exceeded", "exceeded")
    assert agreement.value == pytest.approx(0.5)
    assert drop.value == pytest.approx(50, abs=13)


def test_accuracy_without_a_full_precision_variant(tmp_path, picture_bundle, animals, capsys):
    """The drop is relative to the metric that the export measured for the original model, so other data is rejected."""
    from orilla.runtime.bundle import bundle as bundles
    from orilla.runtime.bundle.manifest import decode, encode

    opened = Bundle.open(picture_bundle)
    text = json.loads(encode(opened.manifest))
    text["variants"] = [variant for variant in text["variants"] if variant["name"] == "litert_wi8_ai8"]
    text["default"] = "litert_wi8_ai8"
    path, file = tmp_path / "tiny.orilla", tmp_path / "b.toml"
    bundles.write(path, decode(json.dumps(text).encode()), {name: opened.read(name) for name in text["files"]})
    file.write_text('[[budget]]\nbundle = "tiny"\nmax_drop = -200\n')
    assert main(["verify", str(path), "--data", str(animals), "--budget", str(file)]) == 1
    assert "16 samples of animals val, accuracy" in " ".join(capsys.readouterr().out.split())
    other_animals = factories.class_folders(tmp_path / "others", {"train": 4, "validation": 4})
    assert main(["verify", str(path), "--data", str(other_animals), "--budget", str(file)]) == 2
    assert "which is not the data set used at its export: set `reference`" in capsys.readouterr().err


def test_slow_models_get_their_samples(monkeypatch, probe):
    """An inference takes 0.4 s on a simulated clock. A limit on p99 that would take too long to measure is rejected."""
    from orilla.runtime.bench import interleaved
    from orilla.runtime.bench.budgets import measurement

    now = [0.0]

    def run(self, prepared):
        now[0] += 0.4
        return {"output": np.zeros(10, np.float32)}

    for module in (measurement, interleaved):
        monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(interleaved.time, "perf_counter_ns", lambda: int(1e9 * now[0]))
    monkeypatch.setattr(LiteRTSession, "run", run)
    table = {"bundle": "probe", "variant": "litert_wi8_ai8", "p90_ratio": 1.5}
    (limit,) = judge(Measurement(budget_target(budget_of(table), Bundle.open(probe))))
    assert limit.status == "met"
    assert limit.value == pytest.approx(1.0)
    assert now[0] < 70
    table = {"bundle": "probe", "variant": "litert_wi8_ai8", "p99_ratio": 1.5}
    with pytest.raises(ConfigError, match="use a lower percentile for this model"):
        judge(Measurement(budget_target(budget_of(table), Bundle.open(probe))))


def test_results_of_other_scenarios_and_variants_are_not_held():
    """A budget limits the time of one inference of the default variant.

    It applies neither to the age of the answers in a loop nor to the full-precision variant.
    """
    budget = budget_of({"bundle": "road", "p50_ratio": 0.3, "memory_mib": 5})
    whole, small, loop = made(8.0, variant="litert_fp32"), made(4.0), made(30.0, scenario="loop")
    assert judge_result(budget, whole, [whole, small]) == []
    assert judge_result(budget, loop, [whole, loop]) == []
    assert {limit.limit for limit in judge_result(budget, small, [whole, small])} == {"p50_ratio", "memory_mib"}
    assert {limit.limit for limit in judge_result(budget, small, [small])} == {"memory_mib"}
    assert judge_result(budget_of({"bundle": "road", "engine": "onnx", "memory_mib": 5}), small) == []


def test_results_are_held_to_budgets_too():
    whole, small = (
        made(8.0, variant="litert_fp32"),
        made(4.0, accuracy=Accuracy("d", "val", 9, "iou", 0.9, (0, 1), {}, 0.7)),
    )
    table = {"bundle": "road", "variant": "litert_wi8_ai8", "p50_ratio": 0.4, "memory_mib": 30, "max_drop": 0.5}
    by_limit = {limit.limit: limit for limit in judge_result(budget_of(table), small, [whole, small])}
    assert by_limit["p50_ratio"].status == "exceeded"
    assert by_limit["p50_ratio"].value == pytest.approx(0.5, rel=0.01)
    assert by_limit["memory_mib"].status == "met"
    assert by_limit["max_drop"].status == "exceeded"
    assert judge_result(budget_of(table), whole, []) == []
    here = budget_of({"bundle": "road", "device": "aarch64", "p90_ms": 3})
    assert [limit.status for limit in judge_result(here, small)] == ["exceeded"]
    assert judge_result(budget_of({"bundle": "road", "device": "pi4", "p90_ms": 3}), small) == []


def test_the_plugin_gives_bundle_session_and_samples(pytester, probe):
    pytester.makepyfile(
        f"""
        import numpy as np
        import pytest

        PROBE = {str(probe)!r}

        @pytest.mark.budget(PROBE, variant="litert_wi8_ai8", seconds=0.5, p90_ratio=[0, 99], max_drop=0.5)
        def test_all(bundle, session, samples):
            from orilla.runtime.bundle.golden import read_frames

            assert session.run(read_frames(bundle)[0].prepared)["output"].shape == (10,)
            assert samples.summary.at(90).ms > 0
            assert samples.reference.count > 36

        @pytest.mark.budget(bundle=PROBE, device="pi4", p90_ms=20)
        def test_elsewhere():
            pass

        @pytest.mark.budget(bundle=PROBE, max_mib=1)
        def test_that_fails_by_itself():
            assert 1 == 2

        @pytest.mark.budget(bundle=PROBE, p90_mss=20)
        def test_typo():
            pass

        @pytest.mark.budget(bundle=PROBE, max_mib=1, seconds="abc")
        def test_seconds():
            pass

        @pytest.mark.budget(bundle="nothing", max_mib=1)
        def test_no_such_bundle():
            pass

        def test_no_mark(session):
            pass
        """
    )
    ended = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--strict-markers")
    ended.assert_outcomes(passed=1, skipped=1, failed=4, errors=1)
    output = ended.stdout.str()
    assert "budgets" in output
    assert "probe litert_wi8_ai8 p90_ratio" in output
    assert "did you mean p90_ms?" in output
    assert "unknown bundle 'nothing'" in output
    assert "seconds = 'abc': must be 0.1 to 60" in output
    assert "need @pytest.mark.budget(bundle=...)" in output


def test_the_plugin_is_an_entry_point_and_brings_nothing_heavy(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_light(pytestconfig):
            assert "orilla" in dict(pytestconfig.pluginmanager.list_name_plugin())
            heavy = {"numpy", "cv2", "msgspec", "orilla.runtime.bundle.bundle"} & set(sys.modules)
            assert not heavy, heavy
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_the_zoo_is_small():
    assert all(path.stat().st_size <= 4 << 20 for path in ZOO.glob("*.orilla"))

"""`orilla tune`, with simulated engines and a simulated clock. A few tests use real engines."""

import json

import numpy as np
import pytest

from orilla.devices.errors import ConfigError, EngineError
from orilla.runtime import open as open_model
from orilla.runtime import tune as tuning
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.engines import loader, registry, tuning_cache
from orilla.runtime.verify import Stage, VariantVerdict

PROBE = Bundle.open("probe")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path))
    monkeypatch.delenv("ORILLA_NO_TUNED")
    return tmp_path


@pytest.fixture
def short_last_round(monkeypatch):
    """Real engines run only briefly in the last round."""
    monkeypatch.setattr(tuning, "LAST_ROUND_S", 0.2)


def verified(bundle, variants, *, engine):
    """Return a passing verdict for each variant without running it."""
    return [VariantVerdict(variant.name, engine, True, None, None, (), {}) for variant in variants]


@pytest.fixture
def simulated(monkeypatch):
    """Return a function that sets up simulated engines.

    An inference takes `cost(variant, engine, threads, call)` milliseconds.
    """

    def set_up(cost, offered=("litert", "onnx"), cores=4):
        now = [0.0]
        calls = {}

        class Session:
            def __init__(self, key):
                self.key, self.engine = key, key[1]

            def run(self, prepared):
                calls[self.key] = calls.get(self.key, 0) + 1
                now[0] += cost(*self.key, calls[self.key]) / 1e3
                return {"output": np.zeros(10, np.float32)}

            def close(self):
                pass

        def load(bundle, variant, *, engine=None, threads=None):
            return Session((variant.name, engine, threads))

        monkeypatch.setattr(loader, "load", load)
        monkeypatch.setattr(registry, "available", lambda name, providers: name in offered)
        monkeypatch.setattr(tuning, "loop_threads", lambda: cores - 1)
        monkeypatch.setattr(tuning, "verify", verified)
        monkeypatch.setattr(tuning.time, "perf_counter", lambda: now[0])
        monkeypatch.setattr(tuning.time, "perf_counter_ns", lambda: int(now[0] * 1e9))
        return now, calls

    return set_up


BASE = {
    "litert_fp32": 9,
    "litert_fp16": 9.5,
    "litert_wi8_afp32": 7,
    "litert_wi8_ai8": 4,
    "onnx_fp32": 8,
    "onnx_wi8_ai8": 6,
}


def cost_of(variant, engine, threads, call):
    return BASE[variant] / threads**0.7


def test_the_fastest_is_found_within_the_time_limit(simulated):
    now, calls = simulated(cost_of)
    trials = tuning.candidates(PROBE, max_drop=1)
    assert len(trials) == 18
    chosen = tuning.tune(PROBE, trials, 30.0)
    assert str(chosen.candidate) == "litert_wi8_ai8 on litert with 3 threads"
    assert now[0] < 30
    counts = sorted(calls.values())
    assert counts[0] < 20 < 200 < counts[-1]  # The slow candidates were removed early.
    assert [trial.left_out for trial in trials if trial.left_out is None] == [None]


@pytest.mark.parametrize("seed", range(20))
def test_the_fastest_is_found_despite_noise(simulated, seed):
    rng = np.random.default_rng(seed)
    now, _ = simulated(lambda *key: cost_of(*key) * (rng.lognormal(0, 0.1) + (rng.random() < 0.02) * 5))
    chosen = tuning.tune(PROBE, tuning.candidates(PROBE, max_drop=1), 60)
    assert cost_of(chosen.candidate.variant, "", chosen.candidate.threads, 0) <= 1.03 * cost_of(
        "litert_wi8_ai8", "", 3, 0
    )
    assert now[0] <= 60


def test_among_equally_fast_candidates_the_fewest_threads_win(simulated):
    simulated(lambda variant, engine, threads, call: BASE[variant] / (1 if threads == 1 else 1.004))
    assert tuning.tune(PROBE, tuning.candidates(PROBE, max_drop=1), 30).candidate.threads == 1


def test_much_slower_candidates_are_removed_after_two_inferences(simulated):
    _, calls = simulated(lambda variant, *_: 4 if variant == "litert_wi8_ai8" else 900)
    tuning.tune(PROBE, tuning.candidates(PROBE, max_drop=1), 100)
    assert max(count for (variant, *_), count in calls.items() if variant != "litert_wi8_ai8") == 2


def test_a_short_time_limit_leaves_candidates_out(simulated):
    now, _ = simulated(lambda *_: 100, cores=4)
    trials = tuning.candidates(PROBE, max_drop=1)
    tuning.tune(PROBE, trials, 10)
    assert now[0] <= 14
    assert any(trial.left_out == "no time was left to test it" for trial in trials)


def test_variants_that_lose_too_much_accuracy_are_no_candidates(monkeypatch):
    import msgspec

    manifest = PROBE.manifest
    check = msgspec.structs.replace(manifest.variants[3].check, drop=2.0)
    variants = tuple(
        msgspec.structs.replace(variant, check=check) if variant.name == "litert_wi8_ai8" else variant
        for variant in manifest.variants
    )
    bundle = Bundle(PROBE.path, msgspec.structs.replace(manifest, variants=variants), {})
    names = {trial.candidate.variant for trial in tuning.candidates(bundle, max_drop=1)}
    assert "litert_wi8_ai8" not in names
    with pytest.raises(
        ConfigError, match=r"no engine here can run a variant with a drop of at most -9 points.*litert_wi8_ai8 \+2.00"
    ):
        tuning.candidates(bundle, max_drop=-9)


def test_a_variant_that_fails_its_verification_is_not_chosen(simulated, monkeypatch):
    simulated(cost_of)
    failed = Stage("infer", passed=False, detail="mean error 1")

    def verify(bundle, variants, *, engine):
        (variant,) = variants
        if variant.name != "litert_wi8_ai8":
            return verified(bundle, variants, engine=engine)
        return [VariantVerdict(variant.name, engine, False, None, "infer", (failed,), {})]

    monkeypatch.setattr(tuning, "verify", verify)
    trials = tuning.candidates(PROBE, max_drop=1)
    assert tuning.tune(PROBE, trials, 30).candidate.variant == "onnx_wi8_ai8"
    assert {trial.left_out for trial in trials if trial.candidate.variant == "litert_wi8_ai8"} == {
        "infer: mean error 1"
    }


def test_a_candidate_that_fails_while_it_is_timed_is_left_out(simulated, monkeypatch):
    def cost(variant, engine, threads, call):
        if variant == "litert_wi8_ai8" and call > 5:
            msg = "broken"
            raise EngineError(msg)
        return cost_of(variant, engine, threads, call)

    simulated(cost)
    trials = tuning.candidates(PROBE, max_drop=1)
    assert tuning.tune(PROBE, trials, 30).candidate.variant == "onnx_wi8_ai8"
    assert {trial.left_out for trial in trials if trial.candidate.variant == "litert_wi8_ai8"} == {"broken"}


def test_the_time_limit_holds_if_an_inference_takes_long(simulated, monkeypatch):
    now, _ = simulated(lambda *_: 2000)

    def verify(bundle, variants, *, engine):
        now[0] += 12
        return verified(bundle, variants, engine=engine)

    monkeypatch.setattr(tuning, "verify", verify)
    tuning.tune(PROBE, tuning.candidates(PROBE, max_drop=1), 30)
    assert now[0] <= 36


def test_if_no_candidate_runs_the_error_has_the_reason(simulated, monkeypatch):
    simulated(cost_of)

    def broken(*_, **__):
        msg = "no luck"
        raise EngineError(msg)

    monkeypatch.setattr(loader, "load", broken)
    with pytest.raises(ConfigError, match="no candidate runs on this machine: no luck"):
        tuning.tune(PROBE, tuning.candidates(PROBE, max_drop=1), 10)


@pytest.mark.usefixtures("short_last_round")
def test_the_choice_is_stored_used_and_reported(own_cache, capsys):
    assert main(["tune", "probe", "--seconds", "5", "--engines", "onnx", "--threads", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    choice = document["choice"]
    assert (choice["engine"], choice["threads"]) == ("onnx", 1)
    assert document["default"] == "litert_wi8_ai8"
    assert document["kept"].startswith(str(own_cache))
    with open_model("probe") as model:
        assert model.variant.name == choice["variant"]
        assert "chosen by `orilla tune`" in model.note
    with open_model("probe", engine="litert") as model:
        assert (model.variant.name, model.note) == ("litert_wi8_ai8", None)
    assert main(["run", "probe", "--source", "scenes", "--frames", "1"]) == 0
    assert (
        f"orilla: probe: {choice['variant']} on onnx with 1 thread, chosen by `orilla tune`" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("short_last_round")
def test_the_choice_is_not_used_after_an_upgrade(own_cache, capsys, monkeypatch):
    main(["tune", "probe", "--seconds", "5", "--engines", "onnx", "--threads", "1"])
    assert "orilla run uses it from now on" in capsys.readouterr().out
    machine, cores, packages = tuning_cache.current()
    monkeypatch.setattr(tuning_cache, "current", lambda: (machine, cores, {**packages, "ai-edge-litert": "9.9"}))
    with open_model("probe") as model:
        assert model.variant.name == "litert_wi8_ai8"
        assert model.note.startswith("tuned with ai-edge-litert ")
        assert "9.9 is installed: the tuned choice is not used; run `orilla tune probe` again" in model.note
    monkeypatch.setattr(tuning_cache, "current", lambda: (machine, 77, packages))
    assert tuning_cache.lookup(PROBE.manifest)[1].endswith("cores, but 77 are usable now")
    monkeypatch.setattr(tuning_cache, "current", lambda: ("Raspberry Pi 4 (Cortex-A72)", cores, packages))
    assert "this is Raspberry Pi 4 (Cortex-A72)" in tuning_cache.lookup(PROBE.manifest)[1]


@pytest.mark.parametrize(
    ("variant", "engine", "threads"),
    [
        ("litert_wi8_ai8", "edgetpu", 1),
        ("onnx_fp32", "onnx:cuda", 1),
        ("onnx_fp32", "tensorrt", 1),
        ("litert_wi8_ai8", "litert", -3),
        ("int4", "litert", 1),
    ],
)
def test_a_choice_that_cannot_run_any_more_is_ignored(variant, engine, threads, capsys):
    machine, cores, packages = tuning_cache.current()
    choice = tuning_cache.Candidate(variant, engine, threads)
    tuning_cache.store(PROBE.manifest, tuning_cache.Tuned(choice, 1.0, cores, packages, machine))
    with open_model("probe") as model:
        assert (model.variant.name, model.session.engine.split()[0]) == ("litert_wi8_ai8", "ai_edge_litert")
        assert "the tuned choice is not used; run `orilla tune probe` again" in model.note


@pytest.mark.usefixtures("short_last_round")
def test_a_damaged_file_is_ignored_with_a_note(own_cache, capsys):
    main(["tune", "probe", "--seconds", "5", "--engines", "onnx", "--threads", "1"])
    (file,) = (own_cache / "tuned").iterdir()
    file.write_text("{")
    assert tuning_cache.lookup(PROBE.manifest) == (None, "the file with the tuned choice is damaged")


@pytest.mark.usefixtures("short_last_round")
def test_a_dry_run_stores_nothing(own_cache, capsys):
    assert main(["tune", "probe", "--seconds", "5", "--engines", "onnx", "--threads", "1", "--dry-run"]) == 0
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--seconds", "1"], "--seconds 1: must be 5 to 3600"),
        (["--max-drop", "-1"], "--max-drop -1"),
        (["--threads", "0"], "--threads 0: give thread counts from 1 to "),
        (["--threads", "two"], "--threads two: give thread counts"),
        (["--threads", "65"], "number of usable cores"),
        (["--engines", ""], "unknown engine ''"),
        (["--engines", "tensorrt"], "did you mean onnx:tensorrt"),
        (["--engines", "onnx:cuda,onnx"], "the engine `onnx:cuda` is not available here: pip install onnxruntime-gpu"),
    ],
)
def test_bad_input(words, match, capsys):
    assert main(["tune", "probe", *words]) == 2
    assert match in capsys.readouterr().err

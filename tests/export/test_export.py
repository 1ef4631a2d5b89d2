"""Export: the bundle gives the same results as the model, and a failed export leaves no file behind."""

import json
import shutil
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from helpers import bundles, factories

from orilla.devices.errors import ConfigError, ConversionError, DataError, OutputError
from orilla.export.convert import fork_server
from orilla.export.data.calibration import calibration_familiarity
from orilla.export.data.prepared import SampleSet
from orilla.export.export import ExportOptions, export
from orilla.export.failures import all_reasons
from orilla.export.recipe import recipes, select
from orilla.export.recommend import recommended
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.tasks.registry import task_of

FAST = "litert_fp32,litert_wi8_ai8"


@pytest.fixture(scope="module")
def manifest(tiny_bundle):
    return Bundle.open(tiny_bundle).manifest


def test_every_recipe_makes_a_variant_close_to_the_original(manifest):
    fitting = [name for name, recipe in recipes().items() if not {"lstm", "no convolutions"} & set(recipe.needs)]
    built = [variant.name for variant in manifest.variants]
    assert built == [name for name in fitting if name in bundles.ROAD_RECIPES.split(",")]
    for variant in manifest.variants:
        agreement, error = (
            (0.9, 0.1) if "wi4" in variant.name else (0.97, 0.02) if "i8" in variant.name else (0.999, 1e-3)
        )
        assert variant.check.agreement > agreement, variant
        assert variant.check.mean_error < error, variant
        assert variant.check.interval[0] <= variant.check.metrics["iou"] <= variant.check.interval[1]


def test_the_check_tells_noise_and_latency(manifest):
    variants = {variant.name: variant for variant in manifest.variants}
    noise = {name: variant.check.sqnr_db or 999 for name, variant in variants.items()}
    assert noise["litert_fp32"] > noise["litert_fp16"] > noise["litert_wi8_ai8"] > noise["litert_wi4_afp32_wo"] > 5
    assert all(variant.latency.p50_ms > 0 and variant.latency.count >= 10 for variant in variants.values())
    assert "1 thread" in manifest.report.timed_on or "threads" in manifest.report.timed_on
    assert variants["litert_wi8_ai8"].tolerance.mean_error >= 0.003 > variants["litert_fp32"].tolerance.mean_error


def test_float_variants_equal_keras(manifest):
    for name in ("litert_fp32", "onnx_fp32"):
        assert manifest.variant(name).check.max_error < 1e-5


def test_the_report_says_on_what_it_was_checked(manifest):
    report = manifest.report
    assert (report.data, report.count) == ("camvid val", 4)
    assert (report.calibration, report.calibration_count) == ("camvid train", 12)
    assert set(report.metrics) >= {"iou", "pixel_accuracy", "iou/A", "iou/B"}
    assert not report.failed
    assert report.not_applicable["litert_fp32_fused"] == "the model has no LSTM"


def test_golden_frames_cover_little_and_much(manifest):
    assert len(manifest.golden) == 4


def test_int8_takes_and_gives_bytes(tiny_bundle):
    from ai_edge_litert.interpreter import Interpreter

    bundle = Bundle.open(tiny_bundle)
    interpreter = Interpreter(model_content=bundle.read("variants/litert_wi8_ai8.tflite"))
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert input_details["dtype"] == output_details["dtype"] == np.int8


def test_the_same_run_makes_the_same_bytes(tiny_run, tiny_bundle, tmp_path):
    names = "litert_fp32,litert_wi8_ai8,litert_wi8_ai8_u8,onnx_wi8_ai8"
    for name in ("one.orilla", "again.orilla"):
        export(tiny_run, tmp_path / name, ExportOptions(recipes=names, timing=False))
    assert (tmp_path / "again.orilla").read_bytes() == (tmp_path / "one.orilla").read_bytes()
    repeated, timed = Bundle.open(tmp_path / "one.orilla"), Bundle.open(tiny_bundle)
    for variant in repeated.manifest.variants:
        assert repeated.read(variant.file) == timed.read(variant.file)


def test_other_calibration_and_golden_data(tiny_run, tmp_path, tiny_data):
    options = ExportOptions(recipes=FAST, calibration=str(tiny_data / "train"), golden="scenes", golden_count=2)
    manifest = export(tiny_run, tmp_path / "t.orilla", options)
    assert manifest.report.calibration == "pictures"
    assert len(manifest.golden) == 2


def test_calibration_images_give_statistics_for_the_loop():
    source = SimpleNamespace(preprocessor=SimpleNamespace(spec=SimpleNamespace(takes_images=True)))
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 48, 3)).astype(np.uint8)
    samples = SampleSet("pictures", "", {"x": images}, [None] * 20, [None] * 20)
    found = calibration_familiarity(samples, source)
    assert len(found.means) == 31
    assert found.problem() is None
    assert calibration_familiarity(None, source) is None
    source.preprocessor.spec.takes_images = False
    assert calibration_familiarity(samples, source) is None


def test_unknown_recipes_list_the_known():
    with pytest.raises(ConfigError, match=r"unknown recipe 'int8'.*litert_wi8_ai8"):
        select("litert_fp32,int8")
    with pytest.raises(ConfigError, match=r"recipes=.*: choose from all, fast"):
        select(" , ")
    assert set(select("fast")) < set(select("all")) == set(recipes())


def test_a_recipe_that_is_not_for_the_model_says_why(tiny_run, tmp_path):
    manifest = export(tiny_run, tmp_path / "t.orilla", ExportOptions(recipes="litert_fp32,onnx_wi8_afp32"))
    assert not manifest.report.failed
    assert manifest.report.not_applicable == {
        "onnx_wi8_afp32": "dynamically quantised convolutions are slower than float convolutions"
    }
    fails(
        tiny_run,
        tmp_path / "u.orilla",
        ConfigError,
        "no recipe applies to this model: litert_fp32_fused: the model has no LSTM; onnx_wi8_afp32: dynamically quanti",
        recipes="litert_fp32_fused,onnx_wi8_afp32",
    )


def test_all_reasons_are_told_once_and_short():
    reasons = {"a": "no LSTM", "b": "an operator\n is missing", "c": "no LSTM", "d": "x" * 500}
    assert all_reasons(reasons) == f"a and c: no LSTM; b: an operator is missing; d: {'x' * 196} ..."
    assert all_reasons(dict.fromkeys("abcdef", "no")) == "a, b, c, d and 2 more: no"


def fails(run, out, error, match, **options):
    before = sorted(out.parent.iterdir()) if out.parent.is_dir() else None
    with pytest.raises(error, match=match) as caught:
        export(run, out, ExportOptions(**{"recipes": "litert_fp32", **options}))
    assert "\n" not in str(caught.value)
    assert (sorted(out.parent.iterdir()) if before is not None else None) == before


def test_bad_input_leaves_nothing(tiny_run, tmp_path, tiny_data):
    out = tmp_path / "t.orilla"
    fails(tmp_path / "none", out, DataError, "no such model")
    few = factories.camvid_folder(tmp_path / "few", {"train": 3, "val": 1})
    fails(tiny_run, out, DataError, "set has 3 samples", recipes="litert_wi8_ai8", calibration=str(few))
    fails(tiny_run, out, DataError, "no such data set", validation=str(tmp_path / "gone.zip"))
    (tmp_path / "empty").mkdir()
    fails(tiny_run, out, DataError, "not a data set", recipes="litert_wi8_ai8", calibration=str(tmp_path / "empty"))
    fails(tiny_run, tmp_path / "no" / "t.orilla", OutputError, "does not exist")


def test_a_damaged_model_is_one_line(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "model.keras").write_bytes(b"not a model")
    fails(run, tmp_path / "t.orilla", ConversionError, "not a model|File not found|zip|keras")
    (run / "card.json").write_text("{}")
    fails(run, tmp_path / "t.orilla", DataError, "cannot read .*card.json")


def test_calibration_pictures_must_show_something(tiny_run, tmp_path):
    import cv2

    for index in range(10):
        (tmp_path / "grey").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "grey" / f"{index}.png"), np.full((20, 20, 3), 7, np.uint8))
    options = {"recipes": "litert_wi8_ai8", "calibration": str(tmp_path / "grey")}
    fails(tiny_run, tmp_path / "t.orilla", DataError, "has only one colour", **options)


def test_a_converter_that_crashes_costs_one_variant(tiny_run, tmp_path, monkeypatch):
    """The float file is converted normally, and then the quantiser crashes with a segmentation fault."""
    real = fork_server.call

    def call(function, **arguments):
        if function.endswith("quantize.litert:static"):
            real("ctypes:string_at", ptr=0)
        real(function, **arguments)

    monkeypatch.setattr(fork_server, "call", call)
    manifest = export(tiny_run, tmp_path / "t.orilla", ExportOptions(recipes=FAST))
    assert [variant.name for variant in manifest.variants] == ["litert_fp32"]
    assert "crashed (SIGSEGV)" in manifest.report.failed["litert_wi8_ai8"]


def test_a_reason_is_told(tmp_path):
    with pytest.raises(ConversionError, match="No such file"):
        fork_server.call("orilla.export.quantize.litert:float16", source=str(tmp_path / "none"), out="x")


def test_a_variant_that_loses_too_much_is_never_the_default(manifest):
    import msgspec

    small = manifest.variant("litert_fp16")
    bad = msgspec.structs.replace(small, check=msgspec.structs.replace(small.check, drop=1.5))
    others = [variant for variant in manifest.variants if variant.name != "litert_fp16"]
    sizes = {variant.name: manifest.files[variant.file].size for variant in manifest.variants} | {"litert_fp16": 1}

    def chosen(*variants):
        untimed = tuple(msgspec.structs.replace(variant, latency=None) for variant in variants)
        return recommended(untimed, sizes)

    assert chosen(bad, *others) != "litert_fp16"
    assert chosen(small, *others) == "litert_fp16"
    assert recommended((bad,), sizes, max_drop=2.0) == recommended((bad,), sizes) == "litert_fp16"


def test_a_task_states_which_agreement_is_good(manifest):
    sizes = {variant.name: 1000 for variant in manifest.variants}
    exact = msgspec.structs.replace(manifest.variant("litert_fp32"), latency=None)
    check = msgspec.structs.replace(exact.check, drop=0.0, agreement=0.97)
    int8 = msgspec.structs.replace(manifest.variant("litert_wi8_ai8"), check=check, latency=None)
    sizes["litert_wi8_ai8"] = 10
    assert recommended((exact, int8), sizes) == "litert_fp32"
    assert recommended((exact, int8), sizes, agreement=task_of("detect").good_agreement) == "litert_wi8_ai8"


def test_the_fastest_of_the_good_variants_is_recommended(manifest):
    import msgspec

    from orilla.runtime.bundle.manifest import Latency

    def timed(name, milliseconds, **check):
        variant = manifest.variant(name)
        result = msgspec.structs.replace(variant.check, drop=0.0, agreement=0.999, **check)
        return msgspec.structs.replace(variant, check=result, latency=Latency(milliseconds, None, 50))

    sizes = {variant.name: manifest.files[variant.file].size for variant in manifest.variants}
    slow_int8 = (timed("litert_fp32", 1.0), timed("litert_wi8_ai8", 8.0))
    assert recommended(slow_int8, sizes) == "litert_fp32"
    assert recommended((*slow_int8, timed("litert_fp16", 1.04)), sizes) == "litert_fp16"
    assert recommended((*slow_int8, timed("onnx_fp32", 0.1)), sizes) == "litert_fp32"


def test_the_command_prints_a_table_and_json(tiny_run, tmp_path, capsys):
    from orilla.runtime.cli import main

    words = ["export", str(tiny_run), "--out", str(tmp_path / "t.orilla"), "--recipes", "litert_fp32"]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["variants"][0]["name"] == "litert_fp32"
    assert document["variants"][0]["accepted"] is True
    assert main([*words[:3], str(tmp_path / "u.orilla"), *words[4:]]) == 0
    assert "litert_fp32 *" in capsys.readouterr().out


def test_a_graph_is_named_by_its_use_whatever_its_order():
    """Graphs that differ only in the order and names of their nodes give the same bytes, and the result is correct."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    from orilla.export.convert.keras_onnx import canonical

    def graph(order, prefix):
        weights = [numpy_helper.from_array(np.full((1, 2), value, np.float32), f"{prefix}{value}") for value in (2, 3)]
        nodes = [
            helper.make_node("Mul", ["x", f"{prefix}2"], [f"{prefix}a"], name=f"{prefix}n1"),
            helper.make_node("Add", [f"{prefix}a", f"{prefix}3"], [f"{prefix}b"], name=f"{prefix}n2"),
            helper.make_node("Sub", [f"{prefix}b", f"{prefix}a"], ["y"], name=f"{prefix}n3"),
        ]
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy")
        built = helper.make_graph([nodes[i] for i in order], "g", [x], [y], [weights[i] for i in order if i < 2])
        return helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    first, second = canonical(graph((0, 1, 2), "p")), canonical(graph((1, 0, 2), "q"))
    assert first.SerializeToString() == second.SerializeToString()
    onnx.checker.check_model(first)
    session = onnxruntime.InferenceSession(first.SerializeToString(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": np.array([[5, 7]], np.float32)})
    assert answer.tolist() == [[3, 3]]


def test_the_recommended_variant_is_checked_on_all_samples_or_refused(tiny_run, tmp_path, monkeypatch):
    """Slow variants are first checked on some of the samples.

    If a problem occurs only when all samples are used, the variant is rejected.
    """
    from orilla.export.check import variants

    checks: list[tuple[str, float | None]] = []
    real = variants.check

    def check(reference, session, *, seconds):
        checks.append((session.engine, seconds))
        if seconds is None and "onnx" not in session.engine:
            msg = "its output contains NaN or infinity"
            raise ConversionError(msg)
        result = real(reference, session, seconds=seconds)
        return result if seconds is None else msgspec.structs.replace(result, count=1)

    monkeypatch.setattr(variants, "check", check)
    manifest = export(tiny_run, tmp_path / "t.orilla", ExportOptions(recipes="litert_fp32,onnx_fp32"))
    assert [variant.name for variant in manifest.variants] == ["onnx_fp32"]
    assert manifest.default == "onnx_fp32"
    assert manifest.report.failed == {"litert_fp32": "its output contains NaN or infinity"}
    assert manifest.variants[0].check.count == manifest.report.count
    assert not [name for name in manifest.files if "litert" in name]

"""The variants that the bundle of `orilla export` keeps for a robot."""

import json

import msgspec
import pytest
from helpers import bundles
from helpers.command import here

from orilla.export.recommend import for_robot
from orilla.runtime.bundle.bundle import Bundle

MANIFEST = Bundle.open(bundles.BUNDLES / "road.orilla").manifest


def test_a_reference_and_the_best_of_each_format_are_kept():
    kept = [MANIFEST.variant(name) for name in for_robot(MANIFEST, 1.0)]
    assert MANIFEST.default in [variant.name for variant in kept]
    assert {variant.format for variant in kept} == {variant.format for variant in MANIFEST.variants}
    assert [variant.name for variant in kept if variant.full_precision and variant.format == "tflite"] == [
        "litert_fp32"
    ]
    assert len(kept) < len(MANIFEST.variants)


def test_compiled_variants_are_kept():
    name = next(variant.name for variant in MANIFEST.variants if variant.name not in for_robot(MANIFEST, 1.0))
    variants = tuple(
        msgspec.structs.replace(variant, compiled={"edgetpu": variant.file}) if variant.name == name else variant
        for variant in MANIFEST.variants
    )
    assert name in for_robot(msgspec.structs.replace(MANIFEST, variants=variants), 1.0)


def test_a_bundle_without_a_float_variant_keeps_its_only_variant():
    only = msgspec.structs.replace(MANIFEST, variants=(MANIFEST.variant("litert_wi8_ai8"),), default="litert_wi8_ai8")
    assert for_robot(only, 1.0) == ("litert_wi8_ai8",)


@pytest.mark.parametrize("words", [("--for", "robot"), ()])
def test_named_recipes_are_kept_unless_the_bundle_is_for_a_robot(tiny_run, tmp_path, words):
    out = tmp_path / "t.orilla"
    built = ["litert_fp32", "litert_wi8_afp32", "litert_fp16", "onnx_fp32", "onnx_fp16"]
    done = here(*("export", tiny_run, "--out", out, "--recipes", ",".join(built), "--no-timing", "--json", *words))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [row["name"] for row in document["variants"]] == built
    kept = [row["name"] for row in document["variants"] if row["kept"]]
    if words:
        assert {"litert_fp32", document["default"]} < set(kept)
        assert len(kept) == 3
    else:
        assert kept == built
    bundle = Bundle.open(out)
    assert [variant.name for variant in bundle.manifest.variants] == kept
    assert [variant["name"] for variant in document["manifest"]["variants"]] == kept
    for variant in bundle.manifest.variants:
        assert bundle.read(variant.file)


def test_what_was_left_out_is_printed(tiny_run, tmp_path):
    words = ("--recipes", "litert_fp32,litert_fp16,litert_wi8_afp32", "--no-timing", "--for", "robot")
    done = here("export", tiny_run, "--out", tmp_path / "t.orilla", *words)
    assert "the bundle keeps what a robot needs: litert_fp32, litert_" in done.stdout
    assert "left out, --for all keeps them: litert_" in done.stdout

"""With `--max-drop`, the export searches for an int8 variant that is accurate enough."""

import dataclasses
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from helpers.wide_channel import WIDE, pictures, wide_channel_onnx, wide_channel_tflite

from orilla.export.result import result_of
from orilla.export.search import search
from orilla.export.search.blocks import Node, blocks
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main

WRITERS = {"onnx": wide_channel_onnx, "litert": wide_channel_tflite}
BROKEN = "orilla.export.search.blocks"
"""A module that lacks the functions of the search, which therefore fail."""

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Return a function that builds the arguments of `orilla import` for a network with one large channel."""
    folder = tmp_path_factory.mktemp("search")
    np.savez(folder / "pictures.npz", x=pictures(160, 1))
    models = {engine: write(folder / f"wide{SUFFIXES[engine]}") for engine, write in WRITERS.items()}

    def command(engine, out, *more):
        data = ["--calibration", str(folder / "pictures.npz"), "--task", "classify"]
        stated = ["--input-range", "0..1", "--color", "rgb", "--no-timing"]
        return ["import", str(models[engine]), "--out", str(out), *data, *stated, *more]

    return command


@pytest.mark.parametrize("engine", ["litert", pytest.param("onnx", marks=pytest.mark.slow)])
def test_the_search_rescues_a_network_that_int8_breaks(engine, words, tmp_path, capsys):
    out = tmp_path / "wide.orilla"
    assert main(words(engine, out, "--max-drop", "4")) == 0
    text = capsys.readouterr().out
    manifest = Bundle.open(out).manifest
    assert manifest.variant(f"{engine}_wi8_ai8").check.drop > 40
    searched = manifest.variant(f"{engine}_wi8_ai8_searched")
    assert searched.check.drop <= 4
    assert searched.check.count == manifest.report.count
    assert "float32 in some layers" in searched.activations
    path = manifest.report.search
    assert path.complete
    assert [step.accepted for step in path.steps] == [False] * (len(path.steps) - 1) + [True]
    # The layer with the large channel and the layer that reads it stay in float, and no others.
    assert path.steps[-1].change.endswith(f"2 of 6 blocks in float32: {WIDE}, after")
    assert f"{path.steps[-1].change}: drop {path.steps[-1].drop:+.2f}, ok" in text
    assert main(["verify", str(out), "--variant", f"{engine}_wi8_ai8_searched"]) == 0
    assert main(["verify", str(out), "--variant", f"{engine}_wi8_ai8"]) == 1, "this variant lost its accuracy"


@pytest.mark.slow
def test_the_reason_is_reported_if_no_variant_can_be_built(words, tmp_path, capsys, monkeypatch):
    broken = dataclasses.replace(search.FORMATS["tflite"], rank=f"{BROKEN}:rank", quantise=f"{BROKEN}:quantise")
    monkeypatch.setitem(search.FORMATS, "tflite", broken)
    out = tmp_path / "wide.orilla"
    assert main(words("litert", out, "--max-drop", "4")) == 0
    assert "litert_wi8_ai8_searched" in Bundle.open(out).manifest.report.failed
    assert "litert_wi8_ai8_searched failed: " in capsys.readouterr().out


def test_a_time_limit_that_is_too_short_is_reported(words, tmp_path, capsys):
    out = tmp_path / "wide.orilla"
    assert main(words("litert", out, "--max-drop", "4", "--search-seconds", "0.000001", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"]["search"]["complete"] is False
    assert [variant["name"] for variant in document["variants"]] == ["litert_fp32", "litert_wi8_ai8"]
    assert main(["show", str(out)]) == 0
    assert "the time limit ended the search" in capsys.readouterr().out


@pytest.mark.slow
def test_an_accurate_int8_variant_needs_no_search(words, tmp_path):
    assert main(words("litert", tmp_path / "wide.orilla", "--max-drop", "100")) == 0
    assert Bundle.open(tmp_path / "wide.orilla").manifest.report.search is None


def test_a_bound_that_no_variant_meets_gives_exit_code_1(tiny_bundle):
    manifest = Bundle.open(tiny_bundle).manifest
    bad = manifest.variant("litert_wi8_ai8")
    bad = msgspec.structs.replace(bad, check=msgspec.structs.replace(bad.check, drop=3.0))
    manifest = msgspec.structs.replace(manifest, variants=(bad,), default=bad.name)
    result = result_of(manifest, manifest, Path("m.orilla"), 0.5, required=True)
    assert result.to_json()["pareto"].front == (bad.name,)
    assert result.exit_code == 1
    assert dataclasses.replace(result, required=False).exit_code == 0
    assert dataclasses.replace(result, max_drop=3.0).exit_code == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--search-seconds", "5"], "--search-seconds 5: must be positive, and needs --max-drop"),
        (["--max-drop", "1", "--search-seconds", "0"], "--search-seconds 0: must be positive"),
        (["--max-drop", "-1"], "--max-drop -1.0: must be 0 to 100 points"),
    ],
)
def test_bad_limits_are_rejected(more, message, words, tmp_path, capsys):
    assert main(words("litert", tmp_path / "m.orilla", *more)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_operators_without_weights_belong_to_the_block_before_them():
    nodes = [
        Node("scale", ("x",), ("s",), weighted=False),
        Node("conv1", ("s",), ("a",), weighted=True),
        Node("sigmoid", ("a",), ("g",), weighted=False),
        Node("product", ("a", "g"), ("p",), weighted=False),
        Node("conv2", ("p",), ("b",), weighted=True),
        Node("sum", ("p", "b"), ("y",), weighted=False),
    ]
    assert [(block.name, block.keys) for block in blocks(nodes)] == [
        ("s", ("scale",)),
        ("a", ("conv1", "sigmoid", "product")),
        ("b", ("conv2", "sum")),
    ]

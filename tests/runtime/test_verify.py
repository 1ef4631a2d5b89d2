"""`orilla verify`: intact bundles pass. For other bundles, the command names the first stage that differs."""

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from msgspec import structs

from orilla.devices.errors import BundleError
from orilla.runtime import verify as module
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.engines import loader
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.preprocessing.npy import encode_npy
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.verify import verify


def run(bundle, dataset=None):
    return verify(bundle, bundle.manifest.variants, dataset)


def rewritten(path, folder, change):
    """Return a bundle with changed content. The hashes match the new content, so the bundle can be opened."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(content.pop("manifest.json"))
    change(content, manifest)
    entries = bundles.entries(content)
    manifest["files"] = {name: {"size": entry.size, "sha256": entry.sha256} for name, entry in entries.items()}
    out = folder / "changed.orilla"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, data in content.items():
            archive.writestr(name, data)
    return Bundle.open(out)


def test_an_intact_bundle_passes_on_its_own_data(tiny_bundle, tiny_data):
    for verdict in run(Bundle.open(tiny_bundle), open_dataset(tiny_data)):
        assert verdict.passed, verdict
        assert verdict.first_difference is None
        assert verdict.metrics["iou"] >= 0


def test_accuracy_on_other_data_is_reported_but_not_compared_with_the_export(tiny_bundle, tmp_path):
    from helpers import factories

    other_scenes = factories.camvid_folder(tmp_path / "other", {"val": 3}, (60, 80))
    for verdict in run(Bundle.open(tiny_bundle), open_dataset(other_scenes)):
        assert verdict.passed
        assert "(not the data used at export); 3 samples say little" in verdict.stages[-1].detail


def test_other_outputs_fail_at_infer(tiny_bundle, tmp_path):
    """The stage `infer` fails if one decision in a hundred is different."""

    def change(content, manifest):
        for variant in manifest["variants"]:
            answer = np.load(io.BytesIO(content[variant["golden"][2]]))
            answer[3, :6] = 1 - answer[3, :6]
            content[variant["golden"][2]] = encode_npy(answer)

    for verdict in run(rewritten(tiny_bundle, tmp_path, change)):
        assert not verdict.passed
        assert verdict.first_difference == "infer"


HUGE = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 1000000, 1), }"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("golden/000.output.npy", b""),
        ("golden/000.output.npy", HUGE.ljust(127) + b"\n"),
        ("golden/000.output.npy", b"not an array" * 20),
        ("golden/001.jpg", b""),
        ("golden/001.jpg", b"not an image"),
        ("golden/001.prepared.png", cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()),
    ],
)
def test_hostile_golden_data_raises_a_one_line_error(tiny_bundle, tmp_path, name, data):
    bundle = rewritten(tiny_bundle, tmp_path, lambda content, manifest: content.update({name: data}))
    with pytest.raises(BundleError, match=r"golden|prepared") as caught:
        run(bundle)
    assert "\n" not in str(caught.value)


def test_another_resize_fails_at_resize(tiny_bundle, tmp_path):
    def change(content, manifest):
        image = cv2.imdecode(np.frombuffer(content["golden/000.prepared.png"], np.uint8), cv2.IMREAD_UNCHANGED)
        content["golden/000.prepared.png"] = cv2.imencode(".png", cv2.add(image, 3))[1].tobytes()

    assert {verdict.first_difference for verdict in run(rewritten(tiny_bundle, tmp_path, change))} == {"resize"}


def test_another_decoder_fails_at_decode(tiny_bundle, tmp_path):
    def change(content, manifest):
        manifest["golden"][0]["raw_sha256"] = "0" * 64

    assert {verdict.first_difference for verdict in run(rewritten(tiny_bundle, tmp_path, change))} == {"decode"}


def test_a_damaged_model_file_fails_at_load(tiny_bundle, tmp_path):
    def change(content, manifest):
        for variant in manifest["variants"]:
            content[variant["file"]] = b"not a model" * 100

    assert {verdict.first_difference for verdict in run(rewritten(tiny_bundle, tmp_path, change))} == {"load"}


def test_accuracy_below_that_of_the_export_fails(tiny_bundle, tiny_data, tmp_path):
    def change(content, manifest):
        for variant in manifest["variants"]:
            variant["check"]["metrics"]["iou"] += 0.02

    verdicts = run(rewritten(tiny_bundle, tmp_path, change), open_dataset(tiny_data))
    assert {verdict.first_difference for verdict in verdicts} == {"accuracy"}


def test_nan_outputs_fail_at_infer(tiny_bundle, monkeypatch):
    bundle = Bundle.open(tiny_bundle)
    shape = np.load(io.BytesIO(bundle.read("golden/000.output.npy"))).shape

    class Broken:
        engine = "broken"

        def run(self, image):
            return {"output": np.full(shape, np.nan, np.float32)}

        def close(self):
            pass

    monkeypatch.setattr(loader, "load", lambda *_, **__: Broken())
    assert {verdict.first_difference for verdict in run(bundle)} == {"infer"}


def test_variants_of_a_missing_engine_are_skipped_with_the_install_command(tiny_bundle, monkeypatch):
    monkeypatch.setattr(module.registry, "installed", lambda engine: engine != "onnx")
    verdicts = run(Bundle.open(tiny_bundle))
    skipped = [verdict for verdict in verdicts if verdict.skipped]
    assert [verdict.variant for verdict in skipped] == [
        verdict.variant for verdict in verdicts if verdict.variant.startswith("onnx")
    ]
    assert len(skipped) == 5
    assert all("pip install" in verdict.skipped for verdict in skipped)


def test_a_bundle_without_golden_frames_cannot_be_verified(tiny_bundle, tmp_path):
    bundle = rewritten(tiny_bundle, tmp_path, lambda content, manifest: manifest.update(golden=[]))
    with pytest.raises(BundleError, match="no golden frames"):
        run(bundle)


def test_the_install_command_is_printed_without_markup(tiny_bundle, monkeypatch, capsys):
    from orilla.runtime.cli import main

    monkeypatch.setattr(module.registry, "installed", lambda engine: engine != "onnx")
    assert main(["verify", str(tiny_bundle)]) == 0
    assert "orilla[onnx]" in capsys.readouterr().out


def test_a_variant_that_lost_its_accuracy_never_passes(tiny_bundle, tmp_path, capsys):
    """The variant reproduces its golden answers exactly, but they are wrong."""
    original = Bundle.open(tiny_bundle)
    manifest = original.manifest
    variant = manifest.variant("litert_wi8_ai8")
    metric = task_of(manifest.task).metric
    check = structs.replace(variant.check, drop=47.0, metrics=variant.check.metrics | {metric: 0.53})
    bad = structs.replace(manifest, variants=(structs.replace(variant, check=check),), default=variant.name)
    bundles.write(tmp_path / "bad.orilla", bad, {name: original.read(name) for name in manifest.files})
    assert main(["verify", str(tmp_path / "bad.orilla")]) == 1
    output = capsys.readouterr().out
    assert "litert_wi8_ai8: FAIL export: it lost its accuracy at export" in output
    assert "0.5300 instead of" in output
    assert main(["show", str(tmp_path / "bad.orilla")]) == 0
    assert "+47.00 FAILED" in capsys.readouterr().out

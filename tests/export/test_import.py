"""Import of files that other tools wrote: facts from the file, questions to the user, and rejected files."""

import json

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import bundles, factories, networks
from onnx import TensorProto, helper

import orilla.runtime
from orilla.devices.errors import ConfigError, DataError
from orilla.export.export import ExportOptions, export
from orilla.export.imports.tflite_file import describe
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.verify import verify

RNG = np.random.default_rng(7)
ANIMALS = Bundle.open(bundles.BUNDLES / "animals.orilla")
STATED = {"task": "classify", "input_range": "0..255", "color": "rgb"}


def imported(model, out, recipes="default", hints=None, **options):
    """Import `model` without timing, and return the bundle."""
    hints = ModelHints(**(STATED if hints is None else hints))
    options = {"validation_count": 24, **options}
    export(model, out, ExportOptions(recipes=recipes, timing=False, hints=hints, **options))
    return Bundle.open(out)


def from_animals(folder, variant):
    """Write a model file from the small bundle `animals`, as if another tool had written it."""
    entry = ANIMALS.manifest.variant(variant)
    path = folder / f"{variant}.{entry.format}"
    path.write_bytes(ANIMALS.read(entry.file))
    return path


def labels_file(folder, *names):
    path = folder / "labels.txt"
    path.write_text("\n".join(names) + "\n")
    return path


@pytest.mark.parametrize("variant", ["litert_fp32", "onnx_fp32"])
def test_a_float_file_answers_as_in_the_bundle_that_it_came_from(variant, tmp_path, animals):
    hints = {**STATED, "labels": labels_file(tmp_path, "cat", "dog")}
    bundle = imported(from_animals(tmp_path, variant), tmp_path / "m.orilla", hints=hints, validation=str(animals))
    (found,) = bundle.manifest.variants
    assert (found.name, found.check.agreement, found.check.metrics["accuracy"]) == (variant, 1.0, 1.0)
    assert bundle.manifest.report.truth == "labels"
    assert all(verdict.passed for verdict in verify(bundle, bundle.manifest.variants))
    image = factories.picture(60, 70)
    with orilla.runtime.open(bundle.path) as model, orilla.runtime.open(ANIMALS.path, variant=variant) as original:
        assert np.allclose(model(image).result.scores, original(image).result.scores, atol=1e-5)


def test_the_quantisation_of_an_input_says_how_pixels_enter(tmp_path):
    bundle = imported(from_animals(tmp_path, "litert_wi8_ai8"), tmp_path / "m.orilla", hints={"task": "classify"})
    assert bundle.manifest.preprocess == Preprocess(size_hw=(32, 48), mean=(0.0,), std=(1.0,))
    (variant,) = bundle.manifest.variants
    assert (variant.name, variant.format, variant.weights) == ("litert_original", "tflite", "int8")
    assert bundle.manifest.labels == ("0", "1")


def test_everything_that_the_file_does_not_say_is_asked_in_one_message(tmp_path, capsys):
    path = networks.small_onnx(tmp_path / "net.onnx")
    assert main(["import", str(path), "--task", "classify", "--out", str(tmp_path / "m.orilla")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--input-range" in line
    assert "--color (rgb or bgr; probably rgb" in line
    assert "torch, because the channels come first" in line
    assert not (tmp_path / "m.orilla").exists()


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_pixels_reach_the_network_as_stated(channels_first, color, tmp_path):
    path = networks.small_onnx(tmp_path / "net.onnx", channels_first=channels_first)
    mean, std = (120.0, 110.0, 100.0), (60.0, 50.0, 40.0)
    hints = {"task": "classify", "mean": mean, "std": std, "color": color, "resize": "letterbox", "fill": 114}
    bundle = imported(path, tmp_path / "m.orilla", hints=hints)
    image = factories.picture(50, 90)
    prepared = prepare(image, bundle.manifest.preprocess).astype(np.float32)
    sample = ((prepared - np.float32(mean)) / np.float32(std))[None]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": sample.transpose(0, 3, 1, 2) if channels_first else sample})
    with orilla.runtime.open(bundle.path) as model:
        assert np.allclose(model(image).result.scores, expected[0], atol=1e-5)
    assert bundle.manifest.variants[0].inputs[0].layout == ("NCHW" if channels_first else "NHWC")


def test_logits_become_probabilities(tmp_path):
    bundle = imported(networks.small_onnx(tmp_path / "net.onnx", last=None), tmp_path / "m.orilla")
    assert bundle.manifest.decoding.activation == "softmax"
    with orilla.runtime.open(bundle.path) as model:
        assert model(factories.picture()).result.scores.sum() == pytest.approx(1)


def test_several_classes_can_apply(tmp_path):
    hints = {**STATED, "multi_label": True, "labels": labels_file(tmp_path, "day", "rain", "car")}
    bundle = imported(networks.small_onnx(tmp_path / "net.onnx", last="Sigmoid"), tmp_path / "m.orilla", hints=hints)
    with orilla.runtime.open(bundle.path) as model:
        result = model(factories.picture()).result
    assert [score.label for score in result.chosen] == result.to_dict()["chosen"]
    assert {score.label for score in result.chosen} == {
        label for label, score in zip(result.labels, result.scores, strict=True) if score >= 0.5
    }


def test_axes_without_a_size_are_asked_for(tmp_path):
    path = networks.small_onnx(tmp_path / "net.onnx", batch="n", size=("h", "w"))
    with pytest.raises(
        ConfigError, match=r"set `input` \(the sizes marked \? in x \[1,3,\?,\?\] float32; probably 224x224"
    ):
        imported(path, tmp_path / "m.orilla")
    bundle = imported(path, tmp_path / "m.orilla", hints={**STATED, "input": (24, 32)})
    assert bundle.manifest.preprocess.size_hw == (24, 32)
    assert bundle.manifest.outputs[0].shape == (3,)


def test_sizes_that_are_not_needed_are_refused(tmp_path):
    with pytest.raises(
        ConfigError, match="`input` has 2 more sizes than the model has axes that are not fixed: omit them"
    ):
        imported(networks.small_onnx(tmp_path / "net.onnx"), tmp_path / "m.orilla", hints={**STATED, "input": (24, 32)})


@pytest.mark.parametrize("opset", [9, 11, 13, 18])
def test_old_and_new_operator_sets_are_read(opset, tmp_path):
    bundle = imported(networks.small_onnx(tmp_path / "net.onnx", opset=opset), tmp_path / "m.orilla")
    assert bundle.manifest.variants[0].check.agreement == 1.0


def test_weights_in_a_second_file_are_included(tmp_path):
    model = onnx.load(networks.small_onnx(tmp_path / "whole.onnx"))
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    whole = imported(tmp_path / "whole.onnx", tmp_path / "whole.orilla")
    parts = imported(tmp_path / "net.onnx", tmp_path / "parts.orilla")
    image = factories.picture()
    with orilla.runtime.open(whole.path) as first, orilla.runtime.open(parts.path) as second:
        assert np.array_equal(first(image).result.scores, second(image).result.scores)
    (tmp_path / "net.data").unlink()
    with pytest.raises(DataError, match=r"keeps its weights in 'net.data', but the external data is missing"):
        imported(tmp_path / "net.onnx", tmp_path / "again.orilla")


def test_weights_outside_the_folder_are_refused(tmp_path):
    (tmp_path / "model").mkdir()
    model = onnx.load(networks.small_onnx(tmp_path / "whole.onnx"))
    path = tmp_path / "model" / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    path.write_bytes(path.read_bytes().replace(b"net.data", b"../x.dat"))
    (tmp_path / "model" / "net.data").rename(tmp_path / "x.dat")
    with pytest.raises(DataError, match="external data outside its folder"):
        imported(path, tmp_path / "m.orilla")


@pytest.mark.parametrize("variant", ["litert_fp32", "onnx_fp32"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped"])
def test_a_damaged_file_costs_one_line(variant, damage, tmp_path, capsys):
    path = from_animals(tmp_path, variant)
    data = path.read_bytes()
    changed = {
        "empty": b"",
        "cut": data[: len(data) // 3],
        "text": b"no model\n" * 100,
        "flipped": bytes(byte ^ 255 for byte in data[:400]) + data[400:],
    }
    path.write_bytes(changed[damage])
    out = tmp_path / "m.orilla"
    options = ["--task", "classify", "--input-range", "0..255", "--color", "rgb"]
    assert main(["import", str(path), "--out", str(out), *options]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not out.exists()


def test_custom_operators_are_named(tmp_path):
    graph = onnx.load(networks.small_onnx(tmp_path / "net.onnx"))
    graph.graph.node.append(helper.make_node("Warp", ["scores"], ["warped"], domain="my.company"))
    graph.opset_import.append(helper.make_opsetid("my.company", 1))
    onnx.save(graph, tmp_path / "net.onnx")
    with pytest.raises(DataError, match=r"custom operators, which no engine supports: my.company:Warp"):
        imported(tmp_path / "net.onnx", tmp_path / "m.orilla")


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ({}, r"set `task` \(classify, segment, detect, regress, tensor; probably classify, because its output scores"),
        ({"task": "text"}, "text models cannot be imported"),
        ({**STATED, "task": "segment"}, r"this model outputs \[3\]"),
        ({**STATED, "input_range": "0-2"}, "unknown input range '0-2'"),
        ({**STATED, "layout": "NHWC"}, r"`layout` is NHWC, but the input is x \[1,3,24,32\] float32: use NCHW"),
        ({**STATED, "color": "luma"}, "use rgb or bgr"),
        ({**STATED, "fill": 3}, "`fill` has no effect unless `resize` is letterbox"),
        ({**STATED, "input_range": "torch", "mean": (1.0,)}, "cannot be combined"),
        ({**STATED, "task": "detect", "resize": "stretch"}, r"no detector layout fits the outputs scores \[3\]"),
        ({"task": "detect"}, r"no detector layout fits the outputs scores \[3\]"),
        ({"task": "tensor", "color": "rgb"}, "`color` is only for image models"),
    ],
)
def test_facts_that_do_not_fit_are_refused(hints, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        imported(networks.small_onnx(tmp_path / "net.onnx"), tmp_path / "m.orilla", hints=hints)


def test_repeated_labels_get_a_number(tmp_path):
    hints = {**STATED, "labels": labels_file(tmp_path, "crane", "heron", "crane")}
    bundle = imported(networks.small_onnx(tmp_path / "net.onnx"), tmp_path / "m.orilla", hints=hints)
    assert bundle.manifest.labels == ("crane", "heron", "crane (2)")


def changed(path, change):
    """Load a network, change its graph, and write it again."""
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
    return path


def with_class_number(graph):
    graph.node.append(helper.make_node("ArgMax", ["scores"], ["number"], axis=1, keepdims=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("number", TensorProto.INT64, [1, 1]))


def without_inputs(graph):
    for node in graph.node:
        node.input[:] = ["kernel" if name == "x" else name for name in node.input]
    del graph.input[:]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (with_class_number, ConfigError, "the model outputs class indices, but a classifier outputs scores"),
        (without_inputs, DataError, "cannot be imported: the model has no inputs"),
    ],
)
def test_networks_that_no_classifier_is_are_refused(change, error, message, tmp_path):
    path = changed(networks.small_onnx(tmp_path / "net.onnx"), change)
    with pytest.raises(error, match=message):
        imported(path, tmp_path / "m.orilla")


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d")])
def test_labels_must_match_the_outputs(names, tmp_path):
    hints = {**STATED, "labels": labels_file(tmp_path, *names)}
    with pytest.raises(ConfigError, match=f"`labels` has {len(names)} names, but the model has 3 classes"):
        imported(networks.small_onnx(tmp_path / "net.onnx"), tmp_path / "m.orilla", hints=hints)


def test_class_folders_never_name_the_outputs(tmp_path, animals):
    with pytest.raises(ConfigError, match=r"`labels` is missing: animals has the classes cat, dog"):
        imported(from_animals(tmp_path, "litert_fp32"), tmp_path / "m.orilla", validation=str(animals))


def test_with_calibration_data_an_int8_variant_is_added(tmp_path, animals):
    for name in ("litert_fp32", "onnx_fp32"):
        hints = {**STATED, "labels": labels_file(tmp_path, "cat", "dog")}
        out = tmp_path / f"{name}.orilla"
        bundle = imported(from_animals(tmp_path, name), out, hints=hints, calibration=str(animals))
        assert [variant.name for variant in bundle.manifest.variants] == [name, name.replace("fp32", "wi8_ai8")]
        assert bundle.manifest.variants[1].check.agreement == 1.0


def test_a_mean_and_a_standard_deviation_reach_the_int8_variant(tmp_path, animals):
    path = networks.small_onnx(tmp_path / "net.onnx", classes=2)
    hints = {
        "task": "classify",
        "input_range": "torch",
        "color": "rgb",
        "labels": labels_file(tmp_path, "cat", "dog"),
    }
    bundle = imported(path, tmp_path / "m.orilla", hints=hints, calibration=str(animals))
    _, int8 = bundle.manifest.variants
    assert int8.check.agreement == 1.0
    assert int8.check.sqnr_db > 20


@pytest.mark.parametrize(
    ("stated", "labelled", "doubted"), [("0..255", True, False), ("0..255", False, False), ("-1..1", False, True)]
)
def test_a_wrong_value_range_shows_on_the_users_data(stated, labelled, doubted, tmp_path, animals, capsys):
    pictures = animals
    if not labelled:
        pictures = tmp_path / "pictures"
        for index in range(24):
            image = factories.picture(40, 48, seed=index)
            half = 24 * (index % 2)
            image[:, half : half + 24] //= 6
            factories.write_picture(pictures / f"{index:02}.png", image)
    hints = {**STATED, "input_range": stated, "labels": labels_file(tmp_path, "cat", "dog")}
    bundle = imported(
        from_animals(tmp_path, "litert_fp32"), tmp_path / "m.orilla", hints=hints, validation=str(pictures)
    )
    assert len(bundle.manifest.report.doubts) == int(doubted)
    if doubted:
        assert bundle.manifest.report.doubts[0].startswith("with --input-range 0..255")
        assert main(["show", str(bundle.path)]) == 0
        assert "with --input-range 0..255" in capsys.readouterr().out


def test_arrays_in_arrays_out(tmp_path):
    bundle = imported(networks.small_onnx(tmp_path / "net.onnx"), tmp_path / "m.orilla", hints={"task": "tensor"})
    assert [spec.shape for spec in bundle.manifest.preprocess.inputs] == [(3, 24, 32)]
    with orilla.runtime.open(bundle.path) as model:
        result = model({"x": RNG.normal(size=(3, 24, 32)).astype(np.float32)}).result
    assert result.arrays["scores"].shape == (3,)


def test_pictures_in_arrays_out(tmp_path):
    hints = {**STATED, "task": "tensor", "input_kind": "image"}
    bundle = imported(networks.small_onnx(tmp_path / "net.onnx"), tmp_path / "m.orilla", hints=hints)
    with orilla.runtime.open(bundle.path) as model:
        assert model(factories.picture()).result.arrays["scores"].shape == (3,)


def test_a_quantised_file_is_bundled_byte_for_byte(tmp_path):
    path = from_animals(tmp_path, "litert_wi8_ai8")
    path.write_bytes(path.read_bytes() + b"appended")
    bundle = imported(path, tmp_path / "m.orilla", hints={"task": "classify"})
    assert bundle.read(bundle.manifest.variants[0].file) == path.read_bytes()


def test_the_result_of_the_command_is_a_json_document(tmp_path, capsys):
    path, out = from_animals(tmp_path, "litert_wi8_ai8"), tmp_path / "m.orilla"
    assert main(["import", str(path), "--task", "classify", "--out", str(out), "--no-timing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["default"] == "litert_original"


def test_a_model_file_in_place_of_a_bundle_names_the_command(tmp_path, capsys):
    path = from_animals(tmp_path, "litert_fp32")
    assert main(["run", str(path), "--source", "scenes", "--frames", "1"]) == 2
    assert (
        "is a TFLite model, not a bundle: make a bundle with `orilla import litert_fp32.tflite"
        in capsys.readouterr().err
    )


def test_a_file_without_an_importer_is_refused(tmp_path, capsys):
    (tmp_path / "net.caffemodel").write_bytes(b"\xff")
    out = str(tmp_path / "m.orilla")
    assert main(["import", str(tmp_path / "net.caffemodel"), "--task", "classify", "--out", out]) == 2
    assert "is a Caffe model, not a model that `orilla import` reads: convert it to ONNX" in capsys.readouterr().err


def test_metadata_of_a_tflite_file_is_read(tmp_path, capsys):
    """`orilla extract` writes the metadata of a bundle into the model file, and the import reads this metadata."""
    out = tmp_path / "m.tflite"
    assert main(["extract", str(ANIMALS.path), "litert_fp32", "--out", str(out)]) == 0
    describe(str(out), str(tmp_path / "d.json"))
    hints = json.loads((tmp_path / "d.json").read_text())["hints"]
    assert (hints["labels"], hints["mean"], hints["std"], hints["color"]) == (["cat", "dog"], [0.0], [1.0], "rgb")
    bundle = imported(out, tmp_path / "m.orilla", hints={"task": "classify"})
    assert bundle.manifest.labels == ("cat", "dog")


def test_properties_of_an_onnx_file_are_read(tmp_path):
    out = tmp_path / "m.onnx"
    assert main(["extract", str(ANIMALS.path), "onnx_fp32", "--out", str(out)]) == 0
    bundle = imported(out, tmp_path / "m.orilla", hints={})
    assert (bundle.manifest.task, bundle.manifest.labels) == ("classify", ("cat", "dog"))
    assert bundle.manifest.preprocess == ANIMALS.manifest.preprocess


def test_an_import_without_timing_repeats_byte_for_byte(tmp_path):
    path = networks.small_onnx(tmp_path / "net.onnx")
    first, second = (imported(path, tmp_path / f"{index}.orilla") for index in range(2))
    assert msgspec.to_builtins(first.manifest) == msgspec.to_builtins(second.manifest)
    assert first.path.read_bytes() == second.path.read_bytes()

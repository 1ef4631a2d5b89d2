"""The commands for bundles: `show`, `slim` and `extract`."""

import io
import json
import zipfile

import numpy as np
import pytest

from orilla.devices.errors import ConfigError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.metadata import IDENTIFIER, with_metadata
from orilla.runtime.bundle.slim import slim
from orilla.runtime.cli import main
from orilla.runtime.verify import verify


def test_show_prints_the_contents_of_a_bundle(tiny_bundle, text_bundle, capsys):
    assert main(["show", str(tiny_bundle)]) == 0
    message = capsys.readouterr().out
    assert "resized to 32x64, RGB 0-255" in message
    assert "litert_wi8_ai8" in message
    assert "licence" in message
    assert main(["show", str(text_bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["task"] == "text"


def test_a_slim_bundle_runs_its_variants(tiny_bundle, tmp_path, capsys):
    out = tmp_path / "slim.orilla"
    assert (
        main(
            [
                "slim",
                str(tiny_bundle),
                "--keep",
                "onnx_wi8_ai8,litert_fp16",
                "--default",
                "onnx_wi8_ai8",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    bundle = Bundle.open(out)
    assert [variant.name for variant in bundle.manifest.variants] == ["litert_fp16", "onnx_wi8_ai8"]
    assert bundle.manifest.default == "onnx_wi8_ai8"
    assert out.stat().st_size < tiny_bundle.stat().st_size / 2
    assert all(verdict.passed for verdict in verify(bundle, bundle.manifest.variants))
    assert "onnx_wi8_ai8 is the default" in capsys.readouterr().out


def test_slim_rejects_unknown_variants_and_defaults(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    assert slim(bundle, "default", None)[0].default == bundle.manifest.default
    with pytest.raises(ConfigError, match="unknown variant 'int8'"):
        slim(bundle, "int8", None)
    with pytest.raises(
        ConfigError, match="`default` is litert_fp16, which is not among the kept variants: litert_fp32"
    ):
        slim(bundle, "litert_fp32", "litert_fp16")
    with pytest.raises(ConfigError, match="contains no name of a variant"):
        slim(bundle, " ,", None)


def run_tflite(data, sample):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(input_details["index"], sample.astype(input_details["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(output_details["index"])


@pytest.mark.parametrize("name", ["litert_fp32", "litert_wi8_ai8"])
def test_an_extracted_tflite_has_the_same_results_and_metadata(picture_bundle, name, tmp_path):
    from ai_edge_litert import schema_py_generated as schema

    bundle = Bundle.open(picture_bundle)
    variant = bundle.manifest.variant(name)
    out = tmp_path / "m.tflite"
    assert main(["extract", str(picture_bundle), name, "--out", str(out)]) == 0
    data, bare = out.read_bytes(), bundle.read(variant.file)
    size = bundle.manifest.preprocess.size_hw
    sample = np.random.default_rng(0).integers(0, 120, (1, *size, 3))
    assert np.array_equal(run_tflite(data, sample), run_tflite(bare, sample))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("labels.txt").decode().split("\n") == list(bundle.manifest.labels)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (entry,) = [item for item in model.metadata if item.name == b"TFLITE_METADATA"]
    metadata = bytes(bytearray(model.buffers[entry.buffer].data))
    assert metadata[4:8] == IDENTIFIER
    assert b"labels.txt" in metadata
    assert b"RGB, 0-255" in metadata
    assert main(["extract", str(picture_bundle), name, "--bare", "--out", str(out)]) == 0
    assert out.read_bytes() == bare


def test_an_extracted_onnx_has_metadata(picture_bundle):
    import onnx

    bundle = Bundle.open(picture_bundle)
    variant = bundle.manifest.variant("onnx_fp32")
    model = onnx.load_from_string(with_metadata(bundle, variant))
    onnx.checker.check_model(model)
    message = {entry.key: entry.value for entry in model.metadata_props}
    assert list(json.loads(message["names"]).values()) == list(bundle.manifest.labels)
    assert json.loads(message["orilla.preprocess"])["color"] == "rgb"


def test_an_extracted_text_model_contains_its_vocabulary(text_bundle):
    bundle = Bundle.open(text_bundle)
    data = with_metadata(bundle, bundle.manifest.variant("litert_fp32"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("vocabulary.txt") == bundle.read("vocabulary.txt")


def test_extract_rejects_invalid_outputs_in_one_line(tiny_bundle, tmp_path, capsys):
    assert main(["extract", str(tiny_bundle), "litert_fp32", "--out", str(tmp_path / "m.onnx")]) == 2
    assert "litert_fp32 is a .tflite file" in capsys.readouterr().err
    assert main(["extract", str(tiny_bundle), "--out", str(tmp_path / "no" / "m.tflite")]) == 2
    assert "does not exist" in capsys.readouterr().err

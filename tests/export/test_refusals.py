"""Commands that need a model or a bundle reject other files. The message states the kind of file and what to do."""

import errno
import gzip
import os
import re
from pathlib import Path

import pytest
from helpers import wrong_files as wrong
from helpers.bundles import BUNDLES
from helpers.wrong_files import archive, content, files, missing, zipped

from orilla.export.convert.failure import reason
from orilla.runtime.cli import main

BUNDLE = (BUNDLES / "animals.orilla").read_bytes()
AGAIN = "download the file again"
ORIGINAL = "use the .onnx, .tflite or Keras file that it was made from"
IMPORT = "`orilla import {} --task TASK --out NAME.orilla`"
EXPORT = "`orilla export {} --task TASK --out NAME.orilla`"
CHECKPOINT = "build the network in Keras, call load_weights() on it"

FAILED_DOWNLOADS = {
    "lfs": ("is a Git LFS pointer", "run `git lfs pull` in its repository"),
    "html": ("is an HTML page, probably from a failed download", "on GitHub, use the link `Raw`"),
    "github": ("is a text that begins with '404: Not Found'", AGAIN),
    "huggingface": ("is a text that begins with 'Entry not found'", AGAIN),
    "github_api": ("is the error message of a server", AGAIN),
    "s3": ("is the error message of a server", AGAIN),
    "zeros": ("is a file that begins with zeros, perhaps from an interrupted download", AGAIN),
    "empty": ("is empty", AGAIN),
}

NO_MODELS = {
    "a pickle of PyTorch": (content("net.pth", wrong.PICKLED["torch"]), "is a pickle", "torch.export.save(program"),
    "a zipped pickle of PyTorch": (
        archive("net.bin", net__data_dot_pkl=b""),
        "a pickle of PyTorch",
        "write a .pt2 file",
    ),
    "TorchScript": (archive("net.pt", net__code__a=b""), "is a TorchScript file", "torch.export.save(program"),
    "scikit-learn": (content("net.pkl", wrong.PICKLED["sklearn"]), "a pickle of scikit-learn", "skl2onnx.to_onnx"),
    "XGBoost": (content("net.joblib", wrong.PICKLED["xgboost"]), "a pickle of XGBoost", "onnxmltools"),
    "another pickle": (content("net.pkl", wrong.PICKLED["other"]), "is a pickle", "loading a pickle can run any code"),
    "a compressed pickle": (content("net.joblib", b"\x78\x9c\xff"), "is a pickle", "save the model as .onnx"),
    "safetensors": (wrong.safetensors("net.safetensors"), "a safetensors file with weights only", "write a .pt2 file"),
    "safetensors named .pt": (wrong.safetensors("net.pt"), "a safetensors file with weights only", "write a .pt2 file"),
    "a frozen graph": (content("net.pb", b"\n\x0c\n\x05input\x12\xff"), "is a TensorFlow graph", "tf2onnx.convert"),
    "a graph as text": (content("net.pbtxt", 'node {\n  name: "x"\n}'), "is a TensorFlow graph", "tf2onnx.convert"),
    "a checkpoint": (files("checkpoint", "net.index"), "is a TensorFlow checkpoint with weights only", CHECKPOINT),
    "an old checkpoint": (files("net.index", "net.data-00000-of-00001"), "is a TensorFlow checkpoint", CHECKPOINT),
    "a part of a checkpoint": (
        content("net.data-00000-of-00001", b"\0\0\xff"),
        "is a part of a TensorFlow",
        CHECKPOINT,
    ),
    "the index of a checkpoint": (content("net.ckpt.index", b"\0\0\xff"), "is a part of a TensorFlow", CHECKPOINT),
    "the list of checkpoints": (content("checkpoint", 'model_checkpoint_path: "a"'), "is the index of", CHECKPOINT),
    "a Keras architecture": (
        content("net.json", '{"class_name": "A", "config": {}}'),
        "without its weights",
        CHECKPOINT,
    ),
    "an unpacked Keras model": (files("config.json", "model.weights.h5"), "an unpacked Keras model", "zip its files"),
    "TensorFlow.js": (
        content("model.json", '{"modelTopology": {}}'),
        "a TensorFlow.js model",
        "tensorflowjs_converter",
    ),
    "a folder of TensorFlow.js": (files("model.json"), "a TensorFlow.js model", "tensorflowjs_converter"),
    "a SavedModel as text": (files("saved_model.pbtxt"), "is a SavedModel as text", "model.export()"),
    "the graph of a SavedModel": (
        content("net/saved_model.pb", b"\x08\1\x12\0"),
        "the graph of a SavedModel",
        "give its folder, net",
    ),
    "Transformers": (files("config.json", "model.safetensors"), "a model of Transformers", "torch.onnx.export"),
    "CoreML": (content("net.mlmodel", b"\x08\4\x12\2\n\0"), "is a CoreML model", ORIGINAL),
    "a CoreML package": (files("Manifest.json", "Data/net"), "is a CoreML model", ORIGINAL),
    "TensorRT": (content("net.engine", b"ptrt\0\xff"), "is a TensorRT engine", ORIGINAL),
    "TensorRT with another suffix": (content("net.trt", b"\1\2\xff"), "is a TensorRT engine", ORIGINAL),
    "Rockchip": (content("net.rknn", b"RKNN\0"), "compiled for Rockchip's NPU", ORIGINAL),
    "Hailo": (content("net.hef", b"\x01HEF\0"), "compiled for Hailo's accelerators", ORIGINAL),
    "Kendryte": (content("net.kmodel", b"LDMK\0"), "compiled for Kendryte's KPU", ORIGINAL),
    "an old model for Kendryte": (content("net.kmodel", b"\3\0\0\0\xff"), "compiled for Kendryte's KPU", ORIGINAL),
    "another accelerator": (content("net.blob", b"\3\0\0\0\xff"), "compiled for one accelerator", ORIGINAL),
    "ncnn": (content("net.param", "7767517\n75 83\n"), "the graph of an ncnn model", ORIGINAL),
    "weights of ncnn": (wrong.beside("net.param", "net.bin"), "the weights of an ncnn model", ORIGINAL),
    "OpenVINO": (
        content("net.xml", '<?xml version="1.0"?>\n<net name="a">'),
        "the graph of an OpenVINO model",
        ORIGINAL,
    ),
    "weights of OpenVINO": (wrong.beside("net.xml", "net.bin"), "the weights of an OpenVINO model", ORIGINAL),
    "Caffe": (content("net.caffemodel", b"\n\x05Caffe\xff"), "is a Caffe model", "convert it to ONNX"),
    "a graph of Caffe": (content("net.prototxt", 'name: "A"\nlayer {\n}'), "the graph of a Caffe model", ORIGINAL),
    "Darknet": (content("net.weights", b"\0\0\0\0\2\0\0\0"), "is a Darknet model", "convert it to ONNX"),
    "MNN": (content("net.mnn", b"\x1c\0\xff"), "is an MNN model", ORIGINAL),
    "Paddle": (content("net.pdmodel", b"\n\xff"), "is a Paddle model", "paddle2onnx"),
    "MXNet": (content("net.params", b"\x12\1\xff"), "is an MXNet model", "mx2onnx"),
    "ONNX Runtime": (content("net.ort", b"\0\0\0\0ORTM"), "ONNX Runtime's own format", "import the .onnx file"),
    "ExecuTorch": (content("net.pte", b"\0\0\0\0ET12"), "is an ExecuTorch program", "import the .pt2 file"),
    "GGUF": (content("net.gguf", b"GGUF\3\0"), "a language model in the GGUF format", "run it with llama.cpp"),
    "external data": (wrong.with_external_data, "is the external data of net.onnx", "give net.onnx"),
    "a zip file": (archive("net.zip", net_dot_onnx=b"x"), "a zip file that contains net.onnx", "unpack it"),
    "a zip file without a model": (archive("net.zip", readme=b"x"), "a zip file without a model", "give a"),
    "a tar archive": (wrong.tar, "is a tar archive", "unpack it"),
    "a gzip archive": (content("net.onnx.gz", gzip.compress(b"x")), "is a gzip archive", "unpack it"),
    "a model that is still packed": (content("net.onnx", gzip.compress(b"x")), "is a gzip archive", "unpack it"),
    "a NumPy array": (content("net.npy", b"\x93NUMPY"), "is a NumPy array", "give a"),
    "an image": (content("net.onnx", b"\xff\xd8\xff\xe0"), "is an image", "give a"),
    "images": (wrong.pictures, "is a folder of images", "give a"),
    "an empty folder": (files(), "is an empty folder", "give a"),
    "a folder with a model": (files("net.onnx"), "net is a folder", "net.onnx"),
    "another folder": (files("readme"), "net is a folder", "give a"),
    "an interrupted training": (files("checkpoint.npz"), "a training run that has not ended", "`orilla train`"),
    "a program": (content("net.bin", b"\x7fELF\2"), "is a program", "give the model that it contains"),
    "source code": (content("net.py", "import torch\n"), "is a Python program", "MODULE:OBJECT"),
    "an unknown format": (
        content("net.bin", b"\xff\xfe\0\1"),
        "an unknown format that begins with ff fe 00 01",
        "give a",
    ),
    "a missing file": (missing("net.onnx"), "no such", "net.onnx"),
    "a name with a typing error": (missing("nett.onnx", "net.onnx"), "no such", "did you mean"),
    "a name without its suffix": (missing("net", "net.onnx"), "no such", "did you mean"),
}
"""Files that no command reads: the kind that the message states, and its advice."""

MODELS = {
    "TFLite": (content("net.tflite", wrong.tflite()), "is a TFLite model", IMPORT.format("net.tflite")),
    "TFLite without a suffix": (content("net", wrong.tflite()), "is a TFLite model", IMPORT.format("net.tflite")),
    "ONNX": (wrong.onnx_file("net.onnx"), "is an ONNX model", IMPORT.format("net.onnx")),
    "ONNX in a .pb file": (wrong.onnx_file("net.pb"), "is an ONNX model", IMPORT.format("net.onnx")),
    "Keras": (wrong.keras_file("net.keras"), "is a Keras model", EXPORT.format("net.keras")),
    "HDF5": (wrong.keras_file("net.h5"), "is an HDF5 file, the format of Keras models", EXPORT.format("net.h5")),
    "a SavedModel": (files("saved_model.pb", data=b"\x08\1\x12\0"), "is a SavedModel", EXPORT.format("net")),
    "a run folder": (files("card.json"), "is a run folder", "`orilla export net --out NAME.orilla`"),
}
"""Models, the noun for their format, and the command that reads them."""

CUT = {
    "ONNX": (wrong.onnx_file("net.onnx"), "only the beginning of an ONNX model: it has"),
    "Keras": (wrong.keras_file("net.keras"), "only the beginning of a zip file"),
    "HDF5": (wrong.keras_file("net.h5"), "only the beginning of an HDF5 file: it has"),
    "PyTorch": (content("net.pt2", zipped({"net/models/model.json": bytes(200)})), "only the beginning of a zip file"),
    "a bundle": (content("net.orilla", BUNDLE), "only the beginning of a zip file"),
}
"""Files that were downloaded only in part."""


def refusal(capsys, command, path):
    """Return the message with which a command rejects a file. It must have one line that says what to do."""
    out = ["--out", str(path.parent / "out.orilla")]
    words = {
        "import": ["import", str(path), "--task", "classify", *out],
        "export": ["export", str(path), "--task", "classify", *out],
        "run": ["run", str(path), "--source", "scenes", "--frames", "1"],
        "show": ["show", str(path)],
        "verify": ["verify", str(path)],
        "bench": ["bench", "run", str(path), "--out", str(path.parent / "bench.json")],
        "tune": ["tune", str(path)],
        "extract": ["extract", str(path), "--out", str(path.parent / "out.tflite")],
        "edgetpu": ["edgetpu", str(path)],
    }
    capsys.readouterr()
    assert main(words[command]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert not (path.parent / "out.orilla").exists()
    assert re.search(r"[:;] \S+", line.removeprefix("orilla: ")), "the message does not say what to do"
    assert not re.search(r"damaged|Error|Traceback|None|\{'class|Full object config", line), line
    assert len(line) < 480, "the message may be cut off"
    return line.removeprefix("orilla: ").replace(str(path.parent) + "/", "")


@pytest.mark.parametrize("command", ["import", "export", "show"])
@pytest.mark.parametrize("case", NO_MODELS)
def test_a_file_that_no_command_reads(command, case, tmp_path, capsys):
    write, what, advice = NO_MODELS[case]
    path = write(tmp_path)
    line = refusal(capsys, command, path)
    assert what in line
    assert advice in line
    assert path.name in line


@pytest.mark.parametrize("command", ["import", "export", "run", "show"])
@pytest.mark.parametrize("suffix", ["onnx", "tflite", "h5", "keras", "pt2", "pt", "orilla"])
def test_what_a_failed_download_leaves(command, suffix, tmp_path, capsys):
    for name, (what, advice) in FAILED_DOWNLOADS.items():
        line = refusal(capsys, command, content(f"net.{suffix}", wrong.TEXTS[name])(tmp_path))
        assert line.startswith(f"net.{suffix} {what}")
        assert advice in line


@pytest.mark.parametrize("command", ["import", "export", "run", "show", "verify", "bench", "tune", "extract"])
@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_another_command_reads(command, case, tmp_path, capsys):
    write, what, advice = MODELS[case]
    path = write(tmp_path)
    if f"orilla {command}" in advice:
        if path.is_dir() or path.name in advice:
            return
        assert refusal(capsys, command, path) == f"{path.name} {what}: rename it to {advice.split()[2]}"
        return
    line = refusal(capsys, command, path)
    assert line.startswith(f"{path.name} {what}, not ")
    assert advice in line


@pytest.mark.parametrize("command", ["import", "export", "run"])
@pytest.mark.parametrize("case", CUT)
def test_a_part_of_a_file(command, case, tmp_path, capsys):
    write, what = CUT[case]
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    line = refusal(capsys, command, path)
    assert line.startswith(f"{path.name} is {what}")
    assert AGAIN in line


@pytest.mark.parametrize("command", ["import", "export"])
@pytest.mark.parametrize("name", ["net.orilla", "net.zip", "net.onnx"])
def test_a_bundle_in_place_of_a_model(command, name, tmp_path, capsys):
    line = refusal(capsys, command, content(name, BUNDLE)(tmp_path))
    assert line == (
        f"{name} is a bundle, not a model: it can be run as it is; `orilla extract {name} --out FILE` writes a model "
        "file in it"
    )


@pytest.mark.parametrize(
    ("suffix", "what"),
    [("tflite", "a TFLite model"), ("pt2", "a PyTorch program"), ("keras", "a Keras model"), ("orilla", "a bundle")],
)
def test_a_format_with_a_signature_needs_it(suffix, what, tmp_path, capsys):
    command = {"keras": "export", "orilla": "run"}.get(suffix, "import")
    line = refusal(capsys, command, content(f"net.{suffix}", wrong.TEXTS["noise"])(tmp_path))
    assert line.startswith(f"net.{suffix} is not {what}, but a file of an unknown format that begins with ")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (wrong.keras_weights("net.weights.h5"), "contains the weights of a Keras model without the model"),
        (wrong.old_weights, "contains the weights of a Keras model without the model"),
        (wrong.not_keras, "is an HDF5 file without a Keras model (it contains measured)"),
        (files("saved_model.pb", data=b"\x08\1\x12\x7f"), "is a SavedModel whose saved_model.pb is only the beginning"),
        (files("saved_model.pb", data=wrong.TEXTS["lfs"]), "is a SavedModel whose saved_model.pb is a Git LFS pointer"),
        (
            files("saved_model.pb", data=b"\xff\xfe"),
            "is not a SavedModel: the content of its saved_model.pb is not one",
        ),
    ],
)
def test_a_file_of_keras_without_a_model(write, words, tmp_path, capsys):
    assert words in refusal(capsys, "export", write(tmp_path))


def test_an_object_of_a_module_is_not_exported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refusal(capsys, "export", Path("torchvision.models:resnet18"))
    assert line.endswith("use `orilla import torchvision.models:resnet18 --task TASK --out NAME.orilla`")


@pytest.mark.parametrize("command", ["import", "export", "run"])
def test_a_file_without_permission(command, tmp_path, capsys, monkeypatch):
    """Root may read every file, so the test lets the file system reject the access."""

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    path = content("net.onnx", b"x")(tmp_path)
    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(capsys, command, path) == "cannot read net.onnx: Permission denied"


@pytest.mark.parametrize("name", ["out.orilla", "out"])
@pytest.mark.parametrize("command", ["export", "import", "slim"])
def test_only_a_bundle_is_replaced_and_only_if_the_user_says_so(command, name, tmp_path, capsys):
    bundle, out = content("net.orilla", BUNDLE)(tmp_path), tmp_path / name
    keep = ["slim", str(bundle), "--keep", "default", "--out", str(out)]
    words = (
        keep if command == "slim" else [command, str(tmp_path / "none.onnx"), "--task", "classify", "--out", str(out)]
    )
    assert main(keep) == 0
    before = out.read_bytes() if out.is_file() else (out / "manifest.json").read_bytes()
    capsys.readouterr()
    assert main(words) == 2
    assert f"the bundle {out} already exists: set --overwrite to replace it" in capsys.readouterr().err
    assert main([*keep, "--overwrite"]) == 0
    assert (out.read_bytes() if out.is_file() else (out / "manifest.json").read_bytes()) == before
    mine = tmp_path / f"mine{out.suffix}"
    (content(mine.name, b"notes") if out.suffix else content("mine/notes.txt", b"notes"))(tmp_path)
    capsys.readouterr()
    assert main([*words[:-1], str(mine), "--overwrite"]) == 2
    assert f"{mine} already exists and is not a bundle: remove it" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "net.orilla", mine.name])


CONVERTERS = {
    "Keras": (
        "Exception encountered when calling Dense.call().\n\n\x1b[1mMatrix size-incompatible\x1b[0m",
        "Matrix size-",
    ),
    "LiteRT": (
        "Could not translate MLIR to FlatBuffer.<unknown>:0: error: loc(fused[\"a\"]): 'tf.Erf' op is neither\n"
        "Some ops are not supported by the native TFLite runtime\nTF Select ops: Erf, FFT\nDetails:\n\ttf.Erf(x)\n",
        "LiteRT has no operator for Erf, FFT: replace the layer, or compute it outside the model",
    ),
    "tf2onnx": ("Tensorflow op [model/fft: FFT2D] is not supported", "ONNX has no operator for FFT2D (model/fft)"),
    "TensorFlow": (
        "Graph execution error:\n\nDetected at node Cast defined at:\n  index 9 is out of range\n",
        "index 9 is out of range",
    ),
    "nothing": ("", "no reason given"),
}


@pytest.mark.parametrize("converter", CONVERTERS)
def test_the_cause_in_the_message_of_a_converter(converter):
    text, words = CONVERTERS[converter]
    line = reason(RuntimeError(text))
    assert line.startswith(f"RuntimeError: {words}")
    assert "\n" not in line

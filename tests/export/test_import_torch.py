"""PyTorch networks become bundles, and files of PyTorch that are not `.pt2` files are rejected."""

import json
import pickle
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import ConfigError, DataError
from orilla.export.convert import fork_server
from orilla.export.export import ExportOptions, export
from orilla.export.imports.torch_program import check_archive
from orilla.export.model_hints import ModelHints
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.preprocessing.image import prepare

STATED = {"task": "classify", "input_range": "torch", "color": "rgb"}
NEEDS_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="the extra `torch` is not installed")
HELPERS = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="module")
def in_the_folder_of_the_helpers():
    """The command finds the module `helpers` in the current folder, in which a new server process starts."""
    fork_server.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(HELPERS)
        yield
    fork_server.close()


def imported(model, out, hints=None, **options):
    """Import `model` without timing, and return the bundle."""
    hints = ModelHints(**(STATED if hints is None else hints))
    export(Path(model), out, ExportOptions("default", timing=False, hints=hints, **options))
    return Bundle.open(out)


def archive(path, *names, **contents):
    """Write a `.zip` file with these members."""
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"")
        for name, content in contents.items():
            file.writestr(name, content)
    return path


def constants(name):
    """Return the table of a `.pt2` file with one constant."""
    return json.dumps({"config": {"c": {"path_name": name, "use_pickle": True}}})


def test_a_pickle_is_refused(tmp_path, capsys):
    archive(tmp_path / "net.pt", "net/data.pkl", "net/data/0")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"weight": 1}))
    for name in ("net.pt", "old.pth"):
        arguments = ["import", str(tmp_path / name), "--task", "classify", "--out", str(tmp_path / "m.orilla")]
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert f"{name} is a pickle: it can run any code when it is loaded" in line
        assert "torch.export.export(net.eval(), (example,)); torch.export.save(program, 'net.pt2')" in line


@pytest.mark.parametrize(
    ("names", "contents", "message"),
    [
        (["net/data.pkl", "net/code/__torch__/net.py", "net/constants.pkl"], {}, "is a TorchScript file"),
        (["net/readme"], {}, "net.pt2 is damaged, or is not a .pt2 file"),
        (["net/models/model.json"], {"net/data/constants/model_constants_config.json": "{"}, "is damaged"),
        (
            ["net/models/model.json"],
            {"net/data/constants/model_constants_config.json": constants("opaque_obj_0")},
            "contains pickled objects, which can run any code",
        ),
    ],
)
def test_a_file_that_could_run_code_is_refused(names, contents, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        check_archive(archive(tmp_path / "net.pt2", *names, **contents))


def test_a_file_with_tensors_only_is_accepted(tmp_path):
    config = {"net/data/constants/model_constants_config.json": constants("tensor_0")}
    check_archive(archive(tmp_path / "net.pt2", "net/models/model.json", **config))


@pytest.mark.skipif(find_spec("torch") is not None, reason="the extra `torch` is installed")
def test_without_torch_the_extra_is_named(tmp_path, capsys):
    path = archive(tmp_path / "net.pt2", "net/models/model.json")
    assert main(["import", str(path), "--task", "classify", "--out", str(tmp_path / "m.orilla")]) == 2
    assert 'pip install "orilla[torch]"' in capsys.readouterr().err


@NEEDS_TORCH
def test_a_pt2_file_answers_as_pytorch(tmp_path):
    import torch
    from helpers import torch_nets

    net = torch_nets.Net().eval()
    bundle = imported(torch_nets.save(net, tmp_path / "net.pt2", 1, 3, 24, 32), tmp_path / "m.orilla")
    assert (bundle.manifest.name, bundle.manifest.variants[0].name) == ("net", "onnx_fp32")
    image = factories.picture(50, 90)
    prepared = bundle.manifest.preprocess.pixel_values[prepare(image, bundle.manifest.preprocess), range(3)]
    with torch.no_grad():
        expected = net(torch.from_numpy(prepared.transpose(2, 0, 1)[None].copy())).numpy()[0]
    with orilla.runtime.open(bundle.path) as model:
        assert np.abs(model(image).result.scores - expected).max() <= 1e-4


@NEEDS_TORCH
def test_open_sizes_are_stated(tmp_path):
    from helpers import torch_nets

    path = torch_nets.save(torch_nets.Net().eval(), tmp_path / "net.pt2", 2, 3, 24, 32, dynamic=True)
    with pytest.raises(ConfigError, match="set `input`"):
        imported(path, tmp_path / "m.orilla")
    bundle = imported(path, tmp_path / "m.orilla", {**STATED, "input": (30, 40)})
    assert bundle.manifest.preprocess.size_hw == (30, 40)


@NEEDS_TORCH
def test_a_class_of_a_module_is_imported(tmp_path):
    bundle = imported("helpers.torch_nets:Net", tmp_path / "m.orilla", {**STATED, "input": (3, 24, 32)})
    assert bundle.manifest.name == "Net"
    assert bundle.manifest.preprocess.size_hw == (24, 32)
    again = imported("helpers.torch_nets:Net", tmp_path / "n.orilla", {**STATED, "input": (3, 24, 32)})
    assert again.path.read_bytes() == bundle.path.read_bytes()


@NEEDS_TORCH
def test_a_function_returns_a_network_with_an_example(tmp_path):
    bundle = imported("helpers.torch_nets:cell", tmp_path / "m.orilla", {"task": "tensor"})
    assert [spec.name for spec in bundle.manifest.preprocess.inputs] == ["x", "state"]
    x, state = np.arange(5, dtype=np.float32), np.full(5, 2, np.float32)
    with orilla.runtime.open(bundle.path) as model:
        total, product = model({"x": x, "state": state}).result.arrays.values()
    assert np.array_equal(total, x + state)
    assert np.array_equal(product, x * state)


@NEEDS_TORCH
@pytest.mark.parametrize(
    ("model", "sizes", "error", "message"),
    [
        ("helpers.torch_nets:Net", None, ConfigError, "set `input` to all sizes of a sample, such as 3x224x224"),
        ("helpers.torch_nets:Net", (24, 32), ConfigError, r"cannot record helpers.torch_nets:Net \(with `input` 24x32"),
        ("helpers.torch_nets:Other", (3, 24, 32), DataError, "has no attribute 'Other'"),
        ("helpers.torch_nets:number", (3, 24, 32), DataError, "an object of the type int: expected a torch.nn.Module"),
        ("helpers.no_such:Net", (3, 24, 32), DataError, "No module named 'helpers.no_such'"),
    ],
)
def test_an_object_that_cannot_be_used_is_refused(model, sizes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        imported(model, tmp_path / "m.orilla", {**STATED, "input": sizes})


@NEEDS_TORCH
def test_a_network_in_training_mode_is_refused(tmp_path):
    from helpers import torch_nets

    path = torch_nets.save(torch_nets.Net().train(), tmp_path / "net.pt2", 1, 3, 24, 32)
    with pytest.raises(DataError, match="exported in training mode"):
        imported(path, tmp_path / "m.orilla")


@NEEDS_TORCH
def test_a_batch_is_refused(tmp_path):
    from helpers import torch_nets

    path = torch_nets.save(torch_nets.Net().eval(), tmp_path / "net.pt2", 2, 3, 24, 32)
    with pytest.raises(DataError, match="takes 2 samples at once"):
        imported(path, tmp_path / "m.orilla")


@NEEDS_TORCH
def test_pickled_example_inputs_run_no_code(tmp_path):
    """If a pickle replaced the example inputs, PyTorch itself would run the code of the pickle."""
    from helpers import torch_nets

    path = torch_nets.save(torch_nets.Net().eval(), tmp_path / "net.pt2", 1, 3, 24, 32)
    touched = tmp_path / "touched"

    class Harm:
        def __reduce__(self):
            return Path.touch, (touched,)

    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "harm.pt2", "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle.dumps(Harm()) if "sample_inputs" in name else source.read(name))
    with pytest.raises(DataError, match=r"harm.pt2"):
        imported(tmp_path / "harm.pt2", tmp_path / "m.orilla")
    assert not touched.exists()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@NEEDS_TORCH
@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_a_network_of_torchvision_answers_as_pytorch(name, tmp_path):
    import torch
    from helpers import torch_nets

    hints = {**STATED, "input": (3, 96, 96)}
    bundle = imported(f"helpers.torch_nets:{name}", tmp_path / "m.orilla", hints)
    net = getattr(torch_nets, name)().eval()
    with orilla.runtime.open(bundle.path) as model:
        for seed in range(5):
            image = np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8)
            prepared = bundle.manifest.preprocess.pixel_values[prepare(image, bundle.manifest.preprocess), range(3)]
            with torch.no_grad():
                logits = net(torch.from_numpy(prepared.transpose(2, 0, 1)[None].copy()))
            expected = torch.softmax(logits, -1).numpy()[0]
            assert np.abs(model(image).result.scores - expected).max() <= 1e-4


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
@NEEDS_TORCH
def test_a_segmentation_network_of_torchvision_is_imported(tmp_path):
    hints = {**STATED, "task": "segment", "input": (3, 96, 128)}
    bundle = imported("helpers.torch_nets:segmenter", tmp_path / "m.orilla", hints)
    with orilla.runtime.open(bundle.path) as model:
        assert model(factories.picture(96, 128)).result.mask("0").shape == (96, 128)

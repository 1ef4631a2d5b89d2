"""TensorFlow, JAX and PyTorch train the same model in the same way."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import factories

HELPERS = Path(__file__).parents[1] / "helpers"
TOLERANCE = np.array([1e-3, 1e-2])
"""Relative tolerance of the loss in the first and second epoch. Backends add numbers in different orders, and the
first steps of AdamW amplify such differences, because they divide by small numbers."""


QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""Options that turn off XLA's optimisation, which would take longer than the two short epochs of the test."""


def run(script, backend, *arguments, xla=""):
    environment = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if backend == "jax":
        environment["XLA_FLAGS"] = f"{QUICK} {xla}"
    completed = subprocess.run(
        [sys.executable, str(HELPERS / script), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-2000:]
    return completed.stdout


def losses(backend, *arguments, folder, xla=""):
    folder.mkdir(exist_ok=True)
    return np.array(json.loads(run("one_epoch.py", backend, *arguments, folder, xla=xla).splitlines()[-1]))


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_augmentation_runs_on_the_backend(backend):
    if find_spec(backend) is None:
        pytest.skip(f'{backend} is not installed: pip install "orilla[backends]"')
    run("augment_once.py", backend)


@pytest.fixture(scope="module")
def data(tmp_path_factory, tiny_data):
    folder = tmp_path_factory.mktemp("backends")
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.uint8) % 10
    images = np.clip(labels[:, None, None] * 25 + rng.normal(0, 20, (60, 28, 28)), 0, 255).astype(np.uint8)
    np.savez(folder / "digits.npz", x_train=images[:40], y_train=labels[:40], x_test=images[40:], y_test=labels[40:])
    texts = factories.text_table(folder / "texts.csv")
    return {"lenet": folder / "digits.npz", "lstm": texts, "road": tiny_data}


@pytest.mark.parametrize("model", ["lenet", "lstm", "road"])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_epoch_gives_the_same_loss(data, tmp_path_factory, model, backend):
    if find_spec(backend) is None:
        pytest.skip(f'{backend} is not installed: pip install "orilla[backends]"')
    shared = tmp_path_factory.getbasetemp()
    weights, reference = shared / f"{model}.npz", shared / f"{model}.json"
    if not reference.exists():
        result = losses("tensorflow", model, data[model], weights, folder=shared / f"{model}_tensorflow")
        reference.write_text(json.dumps(result.tolist()))
    expected = np.array(json.loads(reference.read_text()))
    assert expected[1] < expected[0]
    result = losses(backend, model, data[model], weights, folder=shared / f"{model}_{backend}")
    assert (np.abs(result / expected - 1) < TOLERANCE).all(), (result, expected)


def test_several_devices_share_each_batch(data, tmp_path):
    if find_spec("jax") is None:
        pytest.skip('jax is not installed: pip install "orilla[backends]"')
    weights = tmp_path / "weights.npz"
    one_device = losses("jax", "lenet", data["lenet"], weights, folder=tmp_path / "one")
    two_devices = losses(
        "jax",
        "lenet",
        data["lenet"],
        weights,
        folder=tmp_path / "two",
        xla="--xla_force_host_platform_device_count=2",
    )
    assert (np.abs(two_devices / one_device - 1) < TOLERANCE).all(), (one_device, two_devices)

"""Fixtures with data for several tests of `orilla train`. No test changes this data."""

import numpy as np
import pytest
from helpers import factories


@pytest.fixture(scope="session")
def animals(tmp_path_factory):
    return factories.class_folders(tmp_path_factory.mktemp("data") / "animals", {"train": 24, "validation": 8})


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = np.arange(400, dtype=np.uint8) % 10
    images = np.clip(labels[:, None, None] * 25 + rng.normal(0, 8, (400, 28, 28)), 0, 255).astype(np.uint8)
    images[:, :, 14:] //= 2
    path = tmp_path_factory.mktemp("digits") / "mnist.npz"
    np.savez(path, x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    return path


@pytest.fixture(scope="module")
def eager():
    """Train in eager mode, because tracing a graph takes longer than a few training steps."""
    import tensorflow

    tensorflow.config.run_functions_eagerly(run_eagerly=True)
    yield
    tensorflow.config.run_functions_eagerly(run_eagerly=False)

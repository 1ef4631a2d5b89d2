"""Networks continue the training of a bundle, which contains no Keras model."""

from contextlib import closing

import keras
import numpy as np
import pytest

from orilla.devices.errors import ConfigError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.engines import loader
from orilla.runtime.preprocessing.tensor_spec import only
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import from_bundle
from orilla.train.models.segment import build, build_road, deployable
from orilla.train.options import TrainOptions


@pytest.fixture(scope="module")
def images():
    """Return the prepared golden images of the shipped road model, `[N,H,W,3]`."""
    return np.stack([frame.prepared for frame in read_frames(Bundle.open("road"))]).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    return build_road(NetworkOptions(classes=3, input=(224, 352), weights="road"))


def test_the_network_answers_like_the_bundle(images, network):
    bundle = Bundle.open("road")
    with closing(loader.load(bundle, bundle.manifest.variant("litert_wi8_ai8"))) as session:
        expected = np.stack([only(session.run(image.astype(np.uint8))) for image in images])
    found = network.deployed.predict(images, verbose=0)
    assert np.abs(found - expected).mean() < 0.03
    assert ((found > 0.5) == (expected > 0.5)).mean() > 0.98
    assert network.start_weights == "road"


def test_calibration_keeps_the_answers_and_gives_them_in_training_mode(images, network):
    before = network.deployed.predict(images, verbose=0)
    from_bundle.calibrate(network.model, images)
    assert np.abs(network.deployed.predict(images, verbose=0) - before).max() < 1e-3
    in_training = keras.ops.convert_to_numpy(network.deployed(images, training=True))
    assert np.abs(in_training - before).mean() < 0.02


def test_the_auxiliary_outputs_keep_their_initial_weights(network):
    kernel = network.model.get_layer("class_logits").kernel
    assert np.asarray(keras.ops.convert_to_numpy(kernel)).std() > 0


@pytest.mark.parametrize(
    ("weights", "width", "match"),
    [("road", 0.35, "the kernel of Conv1 has the shape"), ("sentiment", 1.0, "another network")],
)
def test_a_bundle_of_another_network_is_refused(weights, width, match):
    with pytest.raises(ConfigError, match=match):
        build_road(NetworkOptions(classes=0, input=(64, 64), weights=weights, width=width))


def test_an_unknown_name_is_no_weights_file():
    with pytest.raises(ConfigError, match="no such weights file: roads"):
        TrainOptions(model="road", data="scenes", weights="roads").check()


def test_other_models_are_not_affected():
    assert deployable(build(input_hw=(64, 64), width=0.35)).output.shape == (None, 32, 32, 1)

"""The networks in the table of models, and the advice about layers that a device cannot run."""

import keras
import numpy as np
import pytest

from orilla.devices import keras_rules
from orilla.devices.errors import ConfigError
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import MODELS, load_plan
from orilla.train.models.blocks import load_by_name


@pytest.mark.parametrize(
    "model",
    [name for name in MODELS if name not in ("segment", "road", "detect", "regress", "vgg-features", "vgg16-features")],
)
def test_every_model_takes_raw_input_and_gives_probabilities(model):
    plan = load_plan(model)
    size = tuple(max(minimum, 32) for minimum in plan.minimum) if plan.minimum else plan.input
    network = plan.build(NetworkOptions(2, size, plan.vocabulary, head=plan.head)).model
    rng = np.random.default_rng(0)
    if plan.task == "text":
        inputs = rng.integers(0, plan.vocabulary, (3, *size)).astype(np.int32)
    else:
        inputs = rng.uniform(0, 255, (3, *size, 3)).astype(np.float32)
        assert "normalise" in {layer.name for layer in network.layers}
    output = keras.ops.convert_to_numpy(network(inputs))
    assert output.shape in ((3, 1), (3, 2))
    assert ((output >= 0) & (output <= 1)).all()
    if output.shape[1] == 2:
        assert np.allclose(output.sum(axis=1), 1, atol=1e-5)
    assert not [layer for layer in network.layers if type(layer).__name__.startswith("Random")]


def test_a_partial_weights_file_says_what_it_covers(tmp_path):
    import h5py

    base = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    covered = [layer for layer in base.layers if layer.name.startswith(("block1_conv", "block2_conv"))]
    with h5py.File(tmp_path / "partial.h5", "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in covered]
        for layer in covered:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [b"kernel:0", b"bias:0"]
            for name, array in zip(("kernel:0", "bias:0"), layer.get_weights(), strict=True):
                group[name] = array
    options = NetworkOptions(2, (32, 32), weights=str(tmp_path / "partial.h5"))
    network = load_plan("vgg").build(options)
    assert network.start_weights == "partial.h5 (block1_conv1 to block2_conv2, 4 of 16 layers)"
    *exact, last = [(network.model.get_layer(layer.name).get_weights()[0], layer.get_weights()[0]) for layer in covered]
    assert all(np.array_equal(*pair) for pair in exact)
    # The weights of the last loaded layer are scaled, so that the root mean square of its output is one.
    scale = np.linalg.norm(last[0]) / np.linalg.norm(last[1])
    assert np.allclose(last[0], scale * last[1], rtol=1e-4, atol=1e-8)
    answered = keras.Model(network.model.input, network.model.get_layer("block2_conv2").output).predict_on_batch(
        np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    )
    assert 0.8 < np.sqrt(np.mean(answered**2)) < 1.25
    assert load_plan("vgg-features").build(options).start_weights.endswith("features at block2_pool")
    assert (
        load_plan("vgg16").build(options).start_weights == "partial.h5 (block1_conv1 to block2_conv2, 4 of 13 layers)"
    )
    with pytest.raises(ConfigError, match="contains no layer of"):
        load_by_name(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), str(tmp_path / "partial.h5"))
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(ConfigError, match=r"cannot use weights=text\.h5"):
        load_plan("vgg").build(NetworkOptions(2, (32, 32), weights=str(tmp_path / "text.h5")))
    with pytest.raises(ConfigError, match="vgg-features needs pre-trained weights"):
        load_plan("vgg-features").build(NetworkOptions(2, (32, 32)))


def test_weights_that_cannot_be_downloaded_are_reported_in_a_line(animals, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        msg = "URL fetch failure on https://example.org: None -- [Errno -2]"
        raise Exception(msg)

    for name in ("MobileNetV2", "VGG19"):
        monkeypatch.setattr(keras.applications, name, fail)
    for model in ("mobilenet", "road"):
        with pytest.raises(ConfigError, match=r"cannot download ImageNet weights \(.*\): use weights=FILE"):
            load_plan(model).build(NetworkOptions(2, (64, 64), weights="imagenet"))


def test_a_device_s_rules_name_the_layer_and_what_would_do_better():
    image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(8, 3, name="first")(image)
    x = keras.layers.LeakyReLU(name="leaky")(x)
    x = keras.layers.UpSampling2D(name="larger")(x)
    x = keras.layers.Flatten()(x)
    network = keras.Model(image, keras.layers.Dense(200, activation="gelu", name="dense")(x))
    coral = [str(advice) for advice in keras_rules.check(network, "coral")]
    assert any(line.startswith("leaky: the Edge TPU does not run LeakyReLU; use ReLU") for line in coral)
    assert any(line.startswith("larger: ") and "Concatenate and Reshape" in line for line in coral)
    assert any("GlobalAveragePooling2D instead of Flatten" in line for line in coral)
    assert any("activation gelu" in line for line in coral)
    assert any("MiB of int8 weights" in line for line in coral)
    assert not keras_rules.check(load_plan("mobilenet").build(NetworkOptions(2, (96, 96))).model, "coral")
    slow = keras.Model(
        image, keras.layers.Conv2D(512, 3, padding="same", name="wide")(keras.layers.Conv2D(256, 1)(image))
    )
    assert any(str(advice).startswith("wide: a full convolution over 256") for advice in keras_rules.check(slow, "pi4"))
    assert any("billion multiplications" in str(advice) for advice in keras_rules.check(slow, "pi4"))


def test_multiplications_are_counted_as_papers_count_them():
    network = keras.applications.MobileNetV2(weights=None)
    assert keras_rules.multiplications(network) == pytest.approx(300e6, rel=0.02)

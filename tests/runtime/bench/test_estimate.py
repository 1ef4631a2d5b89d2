"""Estimates of inference times: operations in a graph, errors for published figures, and missing estimates."""

import json

import pytest

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.spec import catalog
from orilla.runtime.bench.estimate import costs, models, predict, speed_of
from orilla.runtime.bench.work import work_of
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main


def test_the_work_of_the_road_network_by_hand():
    """The first convolution has 112 x 176 positions and 32 filters of 3 x 3 x 3.

    The other convolutions are 1 x 1 or depthwise.
    """
    bundle = Bundle.open("road")
    work = work_of(bundle.read("variants/litert_wi8_ai8.tflite"), "road")
    assert work.dense > 112 * 176 * 32 * 27 / 1e6
    assert 0 < work.depthwise < 0.3 * work.dense
    assert work.connected == 0


def test_published_networks_have_their_published_work():
    """The numbers of multiply-accumulates equal the published ones.

    They are 569 million for MobileNet, 300 million for MobileNetV2 (Sandler et al. 2018, table 4) and 15,470 million
    for VGG16.
    """
    for name, published in (("mobilenet_v1", 569), ("mobilenet_v2", 300), ("vgg16", 15470)):
        work = models()[name]
        assert work.dense + work.depthwise + work.connected == pytest.approx(published, rel=0.02)


def test_published_figures_are_predicted_from_each_other():
    """`docs/benchmarks.md` lists the errors, which are at most 25 %."""
    known = catalog()
    for device, precision, count in (
        ("pi3", "float32", 4),
        ("pi3", "int8", 2),
        ("pi4", "float32", 4),
        ("pi4", "int8", 2),
    ):
        errors = speed_of(device, precision, known).errors
        assert len(errors) == count
        assert all(0.75 < error < 1.25 for error in errors.values()), (device, precision, errors)
    assert set(costs()) == {"float32", "int8"}


def test_it_is_marked_as_a_prediction(capsys):
    assert main(["bench", "estimate", "road", "--device", "pi4"]) == 0
    output = capsys.readouterr().out
    assert "ESTIMATE: nothing was measured on that device" in " ".join(output.split())
    assert main(["bench", "estimate", "road", "--device", "pi4", "--json"]) == 0
    (interval,) = json.loads(capsys.readouterr().out)["predictions"]
    assert interval["predicted"] is True
    assert interval["low_ms"] < interval["ms"] < interval["high_ms"]
    assert 20 < interval["ms"] < 80
    assert "published figures of pi4" in interval["basis"]


def test_devices_without_figures_of_their_own():
    """The Zero 2 W has the same cores as the Pi 3, at a different clock frequency.

    For the Pi 4 and the Pi 5, figures of the same models are published.
    """
    known = catalog()
    assert "scaled from 1400 MHz" in speed_of("zero2w", "int8", known).basis
    assert "pi4's figures, scaled by the published times of ssd_" in speed_of("pi5", "int8", known).basis
    ratio = speed_of("pi5", "int8", known).factor / speed_of("pi4", "int8", known).factor
    assert ratio == pytest.approx((23.5 / 113 * 16.9 / 83) ** 0.5)


@pytest.mark.parametrize(
    ("bundle", "device", "message"),
    [
        ("road", "jetson-nano", "for jetson-nano or a similar device"),
        ("road", "coral-usb", "for coral-usb or a similar device"),
        ("sentiment", "pi4", "no figures are published for its precision"),
        ("road", "pi9", "unknown device 'pi9'"),
    ],
)
def test_what_cannot_be_predicted(bundle, device, message):
    with pytest.raises(ConfigError, match=message):
        predict(Bundle.open(bundle), device)


def test_a_graph_whose_work_is_hidden(text_bundle):
    bundle = Bundle.open(text_bundle)
    with pytest.raises(DataError, match="whose work is unknown"):
        work_of(bundle.read(bundle.manifest.variant("litert_fp32").file), "tiny")

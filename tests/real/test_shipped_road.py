"""The shipped road bundle on real images and videos: its size, its accuracy, and the areas that its masks cover."""

from collections import Counter

import numpy as np
import pytest

import orilla.runtime
from orilla.runtime.bundle.bundle import ZOO, Bundle
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.verify import verify

EDGE_TPU = {"ADD", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC", "MUL", "PAD", "QUANTIZE", "RESHAPE"}
"""Operators that the network may use. The Edge TPU supports all of them. Source: coral.ai, models-intro."""


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open("road")


def test_the_bundle_is_small_and_its_card_is_complete(bundle):
    assert (ZOO / "road.orilla").stat().st_size <= 3 * 2**20
    sizes = {variant.name: bundle.manifest.files[variant.file].size for variant in bundle.manifest.variants}
    assert sizes["litert_wi8_ai8"] <= 2**20
    card = bundle.manifest.card
    assert card.parameters <= 1_000_000
    assert "CC BY-NC" in card.data.licence
    assert card.metrics["iou"] >= 0.93
    assert "/" not in card.command.replace("--", "")


def test_the_bundle_verifies(bundle):
    for verdict in verify(bundle, bundle.manifest.variants):
        assert verdict.passed, verdict


def test_every_operator_is_int8_and_supported_by_the_edge_tpu(bundle):
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bundle.read("variants/litert_wi8_ai8.tflite"), 0))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    (graph,) = model.subgraphs
    ops = Counter(names[model.operatorCodes[op.opcodeIndex].builtinCode] for op in graph.operators)
    assert set(ops) <= EDGE_TPU, ops
    assert {tensor.type for tensor in graph.tensors} <= {schema.TensorType.INT8, schema.TensorType.INT32}


@pytest.mark.real_data
def test_accuracy_on_camvid(bundle, data_root):
    """On the whole validation split, the IoU of every variant is at most 0.005 below the IoU in the card."""
    dataset = open_dataset(data_root / "camvid.zip")
    assert bundle.manifest.report.sha256 == dataset.digest("val")
    for verdict in verify(bundle, bundle.manifest.variants, dataset):
        assert verdict.passed, verdict
        assert verdict.metrics["iou"] >= 0.93
        assert bundle.manifest.card.metrics["iou"] - verdict.metrics["iou"] <= 0.005


def masks(clip, every):
    """Yield the image and the mask of every `every`-th frame of a video."""
    with orilla.runtime.open("road") as model:
        for tick in model.stream(clip):
            if tick.index % every == 0:
                yield tick.frame.image.copy(), tick.result.mask()


@pytest.mark.real_data
def test_the_lanes_of_a_motorway_are_road(data_root):
    """The model finds road in the lanes, but not in the sky or on the hill."""
    for _, mask in masks(data_root / "video" / "solidWhiteRight.mp4", 10):
        assert mask.shape == (540, 960)
        assert mask[380:520, 300:700].mean() > 0.99
        assert mask[:250].mean() < 0.002
        assert mask[330:350, 880:].mean() < 0.2


@pytest.mark.real_data
def test_a_street_from_above_is_road_except_the_cars(data_root):
    """In this video, everything except the cars is road. A large white area is a car, so the mask must not cover it."""
    shares, cars = [], []
    for image, mask in masks(data_root / "video" / "car-detection.mp4", 10):
        white = image.min(axis=2) > 200
        shares.append(mask.mean())
        if white.mean() > 0.03:
            cars.append(mask[white].mean())
    assert np.median(shares) > 0.9
    assert len(cars) > 3
    assert np.mean(cars) < 0.3


@pytest.mark.real_data
def test_the_encoder_starts_from_the_weights_file(data_root):
    import keras

    from orilla.train.models import segment as road

    path = data_root / "weights" / "mobilenet_v2_1.0_224_no_top_from_int8.weights.h5"
    encoder = road.build(weights=path).get_layer("encoder")
    whole = keras.applications.MobileNetV2(input_shape=(224, 224, 3), include_top=False, weights=None)
    whole.load_weights(path)
    compared = 0
    for layer in (layer for layer in encoder.layers if layer.weights):
        for weights, expected in zip(layer.get_weights(), whole.get_layer(layer.name).get_weights(), strict=True):
            assert np.array_equal(weights, expected)
            compared += 1
    assert compared > 150

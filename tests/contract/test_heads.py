"""Contract tests that every head must pass: it is recognised, checks its outputs, and decodes a known box."""

import contextlib

import msgspec
import numpy as np
import pytest
from helpers.heads import BOX, ENCODINGS, HW, SCORE, completed
from hypothesis import given, settings
from hypothesis import strategies as st

from orilla.devices.errors import BundleError, ConfigError
from orilla.runtime.tasks.heads import registry
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.heads.registry import HEADS, head_of

CASES = [(layout, encode) for layout, encodings in ENCODINGS.items() for encode in encodings]

AMBIGUOUS = {"ssd_anchors": {"detr"}, "detr": {"ssd_anchors"}}
"""For each layout, the layouts that its outputs may also fit, because shapes and values can be equal."""


def shapes_of(outputs):
    return {name: array.shape for name, array in outputs.items()}


@pytest.fixture(params=CASES, ids=[f"{layout}-{index}" for index, (layout, _) in enumerate(CASES)])
def case(request):
    layout, encode = request.param
    return head_of(layout), encode()


@pytest.fixture
def spec(case):
    """Return the specification that an import would choose from the shapes, the values and the user's options."""
    head, encoded = case
    found = head.recognise(shapes_of(encoded.outputs), encoded.input_hw, encoded.labels)
    assert found is not None
    found = head.refine(found, encoded.outputs, encoded.input_hw)
    assert found is not None
    return completed(found, encoded)


def test_every_head_has_a_case():
    assert set(ENCODINGS) == set(HEADS)
    assert all(head_of(name).name == name for name in HEADS)
    assert all(name in line for name, line in zip(HEADS, registry.describe_heads(), strict=True))


def test_a_known_box_is_decoded(case, spec):
    _, encoded = case
    registry.check(spec, shapes_of(encoded.outputs))
    found = registry.detect(encoded.outputs, spec, encoded.input_hw)
    assert len(found) == 1
    assert found.boxes_xyxy[0] == pytest.approx(BOX, abs=1e-3)
    assert found.scores[0] == pytest.approx(SCORE, abs=1e-3)
    assert found.classes.tolist() == [encoded.cls]
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int64)
    if encoded.points:
        assert found.keypoints.shape == (1, encoded.points, 2)
        assert found.keypoints[0, 0] == pytest.approx(BOX[:2], abs=1e-3)
    else:
        assert found.keypoints is None


def test_the_shapes_determine_the_layout(case, spec):
    head, encoded = case
    specs = registry.recognise(shapes_of(encoded.outputs), encoded.input_hw, encoded.labels)
    layouts = {found.layout for found in registry.refine(specs, encoded.outputs, encoded.input_hw)}
    assert head.name in layouts
    assert layouts <= {head.name} | AMBIGUOUS.get(head.name, set())


def test_an_extra_axis_at_the_front_is_ignored(case, spec):
    _, encoded = case
    outputs = {name: array[None] for name, array in encoded.outputs.items()}
    assert registry.detect(outputs, spec, encoded.input_hw).boxes_xyxy[0] == pytest.approx(BOX, abs=1e-3)


def test_a_high_threshold_leaves_no_boxes(case, spec):
    _, encoded = case
    high = msgspec.structs.replace(spec, score_threshold=0.99)
    found = registry.detect(encoded.outputs, high, encoded.input_hw)
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)


def test_nan_is_no_object(case, spec):
    _, encoded = case
    outputs = {name: np.full_like(array, np.nan) for name, array in encoded.outputs.items()}
    assert len(registry.detect(outputs, spec, encoded.input_hw)) == 0


def test_extreme_values_raise_nothing(case, spec):
    _, encoded = case
    for value in (-1e30, 1e30, np.inf, -np.inf):
        outputs = {name: np.full_like(array, value) for name, array in encoded.outputs.items()}
        with np.errstate(all="ignore"):
            boxes = registry.detect(outputs, spec, encoded.input_hw).boxes_xyxy
        assert np.isfinite(boxes).all()


def test_a_specification_is_stored_as_json(spec):
    assert msgspec.json.decode(msgspec.json.encode(spec), type=HeadSpec) == spec


def test_the_number_of_classes_is_that_of_the_labels(case, spec):
    head, encoded = case
    assert head.class_count(spec, shapes_of(encoded.outputs)) in (None, len(encoded.labels))


def test_wrong_specifications_are_refused(case, spec):
    head, encoded = case
    shapes = shapes_of(encoded.outputs)
    role, name = next(iter(spec.outputs.items()))
    wrong = {
        "has no output 'absent'": msgspec.structs.replace(spec, outputs=spec.outputs | {role: "absent"}),
        "has the roles": msgspec.structs.replace(spec, outputs={"nothing": name}),
        "unknown option 'colour'": msgspec.structs.replace(spec, options=spec.options | {"colour": 1}),
        "score_threshold=2 must be": msgspec.structs.replace(spec, score_threshold=2),
        "max_boxes=0 must be": msgspec.structs.replace(spec, max_boxes=0),
    }
    for message, bad in wrong.items():
        with pytest.raises(ConfigError, match=message) as caught:
            registry.check(bad, shapes)
        assert "\n" not in str(caught.value)
    for option, value in head.defaults.items():
        bad = msgspec.structs.replace(spec, options=spec.options | {option: 1.5 if isinstance(value, str) else "x"})
        with pytest.raises(ConfigError, match=option):
            registry.check(bad, shapes)


def test_other_shapes_are_refused(case, spec):
    _, encoded = case
    shapes = shapes_of(encoded.outputs)
    with pytest.raises(ConfigError, match="the outputs are"):
        registry.check(spec, dict.fromkeys(shapes, (3, 3)))
    with pytest.raises(BundleError, match="has no output"):
        registry.detect({"other": np.zeros((3, 3), np.float32)}, spec, encoded.input_hw)


@pytest.mark.parametrize(
    "shapes", [{}, {"a": (10,)}, {"a": (7, 7, 3)}, {"a": (1000,)}, {"a": (3, 4), "b": (5, 6)}, {"a": (4, 4, 4, 4)}]
)
def test_other_outputs_are_not_recognised(shapes):
    assert registry.recognise(shapes, HW) == []


def test_an_unknown_layout_is_named():
    with pytest.raises(ConfigError, match="did you mean yolo_plain"):
        head_of("yolo_plane")


SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6, 7, 16, 20, 64, 70]), max_size=4).map(tuple)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-3, 99),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "yolox", "v5", "softmax", "x1 y1 x2 y2 score class"]),
    st.lists(st.one_of(st.floats(-1, 40), st.lists(st.floats(-1, 40), max_size=4)), max_size=4),
)


@pytest.mark.parametrize("layout", HEADS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_hostile_specifications_raise_nothing_else(layout, data):
    """A manifest may contain any values. Either it is rejected, or decoding succeeds or raises a `BundleError`."""
    head = head_of(layout)
    encoded = ENCODINGS[layout][0]()
    spec = head.recognise(shapes_of(encoded.outputs), encoded.input_hw, encoded.labels)
    spec = completed(head.refine(spec, encoded.outputs, encoded.input_hw), encoded)
    options = spec.options | data.draw(st.dictionaries(st.sampled_from([*head.defaults, "x"]), VALUES, max_size=2))
    spec = msgspec.structs.replace(spec, options=options, score_threshold=data.draw(st.sampled_from([0.0, 0.25])))
    shapes = shapes_of(encoded.outputs)
    if shapes and data.draw(st.booleans()):
        shapes |= {data.draw(st.sampled_from([*shapes])): data.draw(SHAPES)}
    try:
        registry.check(spec, shapes)
    except ConfigError:
        return
    head.class_count(spec, shapes)
    outputs = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    with contextlib.suppress(BundleError), np.errstate(all="ignore"):
        registry.detect(outputs, spec, data.draw(st.sampled_from([encoded.input_hw, (64, 64), (20, 300), (1, 1)])))

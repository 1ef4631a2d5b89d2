"""Contract tests that every task must pass: answers, decisions, metrics, verification. They need no TensorFlow."""

import json

import numpy as np
import pytest
from helpers import bundles, factories
from helpers.detectors import detector_bundle
from helpers.regressions import regression_bundle

import orilla.runtime
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.frame import Frame
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.contract import CHECKS, TaskCase
from orilla.runtime.tasks.decoding import Decoding
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.metrics.detection import BoxTruth
from orilla.runtime.tasks.registry import TASKS, task_of
from orilla.runtime.tasks.task import DecodeContext
from orilla.runtime.verify import verify

CONTEXT = DecodeContext(())
"""Context without a frame. Decisions about pixels are made on the grid of the network."""
CONTEXTS = {
    "detect": DecodeContext(
        ("cat", "dog"), Preprocess((32, 48)), head=HeadSpec("nms_in_graph", {"detections": "output"})
    ),
    "regress": DecodeContext(
        ("steering", "throttle"), decoding=Decoding(units=("deg", ""), ranges=((-30.0, 30.0), (0.0, 1.0)))
    ),
}
"""Contexts of the tasks that need more than the labels."""
MASK = np.repeat(np.array([[0.1, 0.9]], np.float32), 4, axis=0)[..., None]
CASES = {
    "segment": ("road", ("road",), (MASK[..., 0] > 0.5).astype(np.uint8), MASK, 1 - MASK),
    "classify": ("animals", ("cat", "dog"), 1, np.array([0.2, 0.8], np.float32), np.array([0.8, 0.2], np.float32)),
    "text": ("reviews", ("bad", "good"), 1, np.array([0.8], np.float32), np.array([0.2], np.float32)),
    "detect": (
        "detector",
        ("cat", "dog"),
        BoxTruth(np.array([[4, 4, 20, 24]], np.float32), np.array([0]), np.array([False])),
        np.array([[4, 4, 20, 24, 0.9, 0]], np.float32),
        np.array([[30, 2, 44, 14, 0.9, 1]], np.float32),
    ),
    "regress": (
        "driver",
        ("steering", "throttle"),
        np.array([10.0, 0.5]),
        np.array([10.0, 0.5], np.float32),
        np.array([-20.0, 0.1], np.float32),
    ),
    "tensor": ("arrays", (), np.arange(6.0), np.arange(6, dtype=np.float32), np.arange(6, dtype=np.float32)[::-1]),
}
"""A small bundle for each task, with its labels, a ground truth, a correct output and a wrong output."""


def context_of(task):
    """Return the properties of a model of the task."""
    return CONTEXTS.get(task.name, DecodeContext(CASES[task.name][1]))


def case(task):
    """Return the case of a task for the contract."""
    _, _, truth, right, wrong = CASES[task.name]
    frame_hw = (60, 80) if "image" in task.input_kinds else None
    return TaskCase(task, context_of(task), truth, {"output": right}, {"output": wrong}, frame_hw)


@pytest.fixture(params=TASKS.built_in)
def task(request):
    if request.param not in CASES:
        pytest.fail(f"task {request.param} has no contract case: add one to CASES")
    return task_of(request.param)


@pytest.fixture
def small(task, tmp_path):
    """Path of a small bundle for the task."""
    name = CASES[task.name][0]
    builders = {"arrays": factories.array_bundle, "detector": detector_bundle, "driver": regression_bundle}
    return builders[name](tmp_path / f"{name}.orilla") if name in builders else bundles.BUNDLES / f"{name}.orilla"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(task, check):
    check(case(task))


def test_an_answer_is_a_json_document_that_repeats(task, small):
    bundle = Bundle.open(small)
    assert bundle.manifest.task == task.name
    with orilla.runtime.open(small) as model:
        for golden in read_frames(bundle):
            first, repeated = (model(golden.raw) for _ in range(2))
            document = json.loads(json.dumps(first.result.to_dict()))
            assert document["task"] in TASKS
            assert document == repeated.result.to_dict()
            assert set(first.stages_ms) == {"prepare", "infer", "decode"}


def test_different_inputs_have_different_answers(small):
    with orilla.runtime.open(small) as model:
        answers = [json.dumps(model(golden.raw).result.to_dict()) for golden in read_frames(Bundle.open(small))]
    assert len(set(answers)) > 1


def test_decisions_are_those_of_the_answer(task, small):
    """The decisions are the mask at the size of the image, the most likely class, or numbers within a tolerance."""
    golden = read_frames(Bundle.open(small))[0]
    with orilla.runtime.open(small) as model:
        result, outputs = model(golden.raw).result, model.session.run(golden.prepared)
    if task.name == "segment":
        context = model.bundle.manifest.context.of_frame(golden.raw.shape[:2])
        assert np.array_equal(task.decisions(outputs, context), result.mask())
    elif task.name == "tensor":
        assert task.agreeing(outputs, result.arrays, CONTEXT).all()
    elif task.name == "regress":
        context = Bundle.open(small).manifest.context
        assert task.decisions(outputs, context) == pytest.approx(list(result.values()), abs=1e-6)
    elif task.name == "detect":
        context = Bundle.open(small).manifest.context.of_frame(golden.raw.shape[:2])
        assert len(result.boxes) > 0
        assert task.decisions(outputs, context)[:, :4] == pytest.approx(np.array([box.xyxy for box in result.boxes]))
    else:
        assert result.labels[int(task.decisions(outputs, model.bundle.manifest.context)[0])] == result.top.label


def test_an_answer_draws_itself(task, small):
    golden = read_frames(Bundle.open(small))[0]
    with orilla.runtime.open(small) as model:
        tick = model(golden.raw)
    if isinstance(tick.frame, Frame):
        drawn = tick.draw()
        assert drawn.shape == golden.raw.shape
        assert not np.array_equal(drawn, golden.raw)
    else:
        assert all(isinstance(text, str) for text in tick.result.draw(np.zeros((120, 160, 3), np.uint8)))


def test_a_bundle_verifies(small):
    bundle = Bundle.open(small)
    for verdict in verify(bundle, bundle.manifest.variants):
        assert verdict.passed, [stage for stage in verdict.stages if not stage.passed]

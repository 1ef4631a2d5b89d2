"""Contract tests that every task must pass: answers, decisions, metrics, verification. They need no TensorFlow."""

import json

import numpy as np
import pytest
from helpers import bundles, factories
from helpers.detectors import detector_bundle

import orilla.runtime
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.frame import Frame
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.metrics.detection import BoxTruth
from orilla.runtime.tasks.registry import TASKS, task_of
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Target
from orilla.runtime.verify import verify

CONTEXT = DecodeContext(())
"""Context without a frame. Decisions about pixels are made on the grid of the network."""
CONTEXTS = {
    "detect": DecodeContext(
        ("cat", "dog"), Preprocess((32, 48)), head=HeadSpec("nms_in_graph", {"detections": "output"})
    )
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
    "tensor": ("arrays", (), np.arange(6.0), np.arange(6, dtype=np.float32), np.arange(6, dtype=np.float32)[::-1]),
}
"""For each task: a small bundle, its labels, a ground truth, a correct output and a wrong output."""


def context_of(task):
    """Return the properties of a model of the task."""
    return CONTEXTS.get(task.name, DecodeContext(CASES[task.name][1]))


def case(task):
    """Return the labels, the ground truth, the right outputs and the wrong outputs of a task."""
    _, labels, truth, right, wrong = CASES[task.name]
    return labels, truth, {"output": right}, {"output": wrong}


@pytest.fixture(params=TASKS)
def task(request):
    if request.param not in CASES:
        pytest.fail(f"task {request.param} has no contract case: add one to CASES")
    return task_of(request.param)


@pytest.fixture
def small(task, tmp_path):
    """Path of a small bundle for the task."""
    name = CASES[task.name][0]
    builders = {"arrays": factories.array_bundle, "detector": detector_bundle}
    return builders[name](tmp_path / f"{name}.orilla") if name in builders else bundles.BUNDLES / f"{name}.orilla"


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


def test_an_output_agrees_with_itself_and_not_with_its_opposite(task):
    *_, right, wrong = case(task)
    assert task.agreeing(right, right, context_of(task)).all()
    assert not task.agreeing(right, wrong, context_of(task)).all()


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
    elif task.name == "detect":
        context = Bundle.open(small).manifest.context.of_frame(golden.raw.shape[:2])
        assert len(result.boxes) > 0
        assert task.decisions(outputs, context)[:, :4] == pytest.approx(np.array([box.xyxy for box in result.boxes]))
    else:
        assert result.labels[int(task.decisions(outputs, model.bundle.manifest.context)[0])] == result.top.label


def test_the_decisions_of_the_original_serve_as_ground_truth(task):
    labels, _, right, wrong = case(task)
    target = Target(task, context_of(task), task.pseudo_indices(labels), ignore=255)
    shape = right["output"].shape
    context = context_of(task).of_frame(shape[:2] if len(shape) == 3 else None)
    truths = [GroundTruth(str(index), task.pseudo_truth(right, context)) for index in range(3)]
    assert target.metrics([(truth, right) for truth in truths]).metrics()[task.metric] == pytest.approx(1)
    assert target.metrics([(truth, wrong) for truth in truths]).metrics()[task.metric] < 0.9


def test_golden_samples_are_chosen_among_the_candidates(task):
    count = 3 * task.golden_candidates
    outputs = {name: np.stack([array] * count) for name, array in case(task)[2].items()}
    chosen = task.choose_golden(outputs, context_of(task), 3)
    assert len(set(chosen)) == 3
    assert set(chosen) <= set(range(count))


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


def test_the_primary_metric_is_1_for_right_answers_and_less_for_wrong_ones(task):
    labels, truth, right, wrong = case(task)
    target = Target(task, context_of(task), task.pseudo_indices(labels), ignore=255)
    metric = task.metric
    good, bad = (
        target.metrics([(GroundTruth(str(index), truth), output) for index in range(3)]) for output in (right, wrong)
    )
    assert good.metrics()[metric] == pytest.approx(1)
    assert bad.metrics()[metric] < 0.9
    low, high = good.intervals()[metric]
    assert low <= good.metrics()[metric] <= high + 1e-6


def test_a_bundle_verifies(small):
    bundle = Bundle.open(small)
    for verdict in verify(bundle, bundle.manifest.variants):
        assert verdict.passed, [stage for stage in verdict.stages if not stage.passed]

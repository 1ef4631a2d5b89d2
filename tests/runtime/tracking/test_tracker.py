"""The tracker on synthetic scenes with known identities, measured with MOTA, IDF1 and identity switches."""

import numpy as np
import pytest
from helpers.tracks import Objects, Scene, best_total, quality, track

from orilla.runtime.tasks.metrics.detection import iou_matrix
from orilla.runtime.tracking.assignment import assign
from orilla.runtime.tracking.motion import Motion, coordinates
from orilla.runtime.tracking.track import Track
from orilla.runtime.tracking.tracker import GROWTH, Tracker, grown_ious

HIGH = 0.5


def straight(x, y, speed_x, speed_y, start=0.0, end=99.0):
    """Return the path of an object that is in the scene from `start` to `end`."""

    def at(time_s):
        return (x + speed_x * (time_s - start), y + speed_y * (time_s - start)) if start <= time_s < end else None

    return at


CROSSING = (straight(0.1, 0.4, 0.2, 0.05), straight(0.9, 0.5, -0.2, -0.02), straight(0.5, 0.1, 0, 0.2))


def crowd(count, seed=0):
    """Return paths of objects that enter and leave, in random directions."""
    rng = np.random.default_rng(seed)
    return [
        straight(*rng.random(2), *rng.normal(0, 0.15, 2), start=rng.uniform(0, 2), end=rng.uniform(3, 6))
        for _ in range(count)
    ]


def turning(count):
    """Return paths along ellipses."""

    def path(phase):
        return lambda time_s: (0.5 + 0.3 * np.sin(1.5 * time_s + phase), 0.5 + 0.3 * np.cos(1.5 * time_s + phase))

    return [path(2 * np.pi * number / count) for number in range(count)]


def measured(seeds=5, settings=None, **scene):
    """Return the worst MOTA and IDF1 and the number of switches per scene."""
    results = []
    for seed in range(seeds):
        one = Scene(seed=seed, **scene)
        results.append(quality(one.truth, track(one, Tracker(settings or Track(), HIGH))))
    worst = min(result.mota for result in results), min(result.idf1 for result in results)
    return (*worst, sum(result.switches for result in results) / seeds)


@pytest.mark.parametrize(
    ("scene", "mota", "idf1"),
    [
        pytest.param({}, 0.98, 0.99, id="objects that cross"),
        pytest.param({"jitter": 0.05}, 0.98, 0.99, id="jitter"),
        pytest.param({"hidden": [(0, 1.5, 2.3), (2, 1.0, 1.9)]}, 0.83, 0.91, id="gaps"),
        pytest.param({"missed": 0.2}, 0.70, 0.82, id="one in five boxes is missed"),
        pytest.param({"weak": 0.3}, 0.93, 0.96, id="one in three scores is low"),
        pytest.param({"dropped": 0.5}, 0.96, 0.97, id="every second frame is dropped"),
        pytest.param({"dropped": 0.8}, 0.86, 0.92, id="four of five frames are dropped"),
        pytest.param({"rate_hz": 5.0}, 0.89, 0.94, id="five frames per second"),
        pytest.param({"rate_hz": 3.0, "seconds": 5.0}, 0.80, 0.88, id="three frames per second"),
    ],
)
def test_objects_that_cross_keep_their_numbers(scene, mota, idf1):
    """The metrics are below 1: an object is not reported before it is confirmed, or while it is not detected."""
    reached_mota, reached_idf1, switches = measured(paths=CROSSING, **scene)
    assert switches == 0
    assert reached_mota >= mota
    assert reached_idf1 >= idf1


@pytest.mark.parametrize(("count", "rate_hz", "allowed"), [(10, 30.0, 1.0), (20, 30.0, 1.5), (20, 10.0, 2.0)])
def test_crowds_enter_and_leave(count, rate_hz, allowed):
    mota, idf1, switches = measured(
        paths=crowd(count), seconds=6.0, rate_hz=rate_hz, missed=0.1, weak=0.1, false_alarms=0.5
    )
    assert mota >= 0.7
    assert idf1 >= 0.8
    assert switches <= allowed


def test_objects_that_turn():
    mota, idf1, switches = measured(paths=turning(3), seconds=8.0, dropped=0.5)
    assert (mota >= 0.95, idf1 >= 0.95, switches) == (True, True, 0)


def test_fast_objects_are_found_again_although_their_boxes_do_not_overlap():
    """At 5 Hz, each object moves by more than its own width between two frames."""
    paths = straight(0.1, 0.4, 0.4, 0), straight(0.9, 0.6, -0.4, 0)
    mota, _, switches = measured(paths=paths, rate_hz=5.0, seconds=2.0)
    assert mota >= 0.75
    assert switches == 0


def boxes(*rows):
    return np.array(rows, float).reshape(-1, 4)


def numbers_of(tracker, rows, time_s, scores=None, classes=None):
    count = len(rows)
    scores = np.full(count, 0.9) if scores is None else np.array(scores)
    classes = np.zeros(count, np.int64) if classes is None else np.array(classes)
    return tracker.update(boxes(*rows), scores, classes, round(1e9 * time_s)).numbers.tolist()


A, B = (0.1, 0.1, 0.2, 0.3), (0.6, 0.1, 0.7, 0.3)


def test_objects_get_numbers_after_the_stated_number_of_frames():
    tracker = Tracker(Track(confirm=3), HIGH)
    assert [numbers_of(tracker, [A], frame / 30) for frame in range(4)] == [[0], [0], [1], [1]]
    immediate = Tracker(Track(confirm=1), HIGH)
    assert numbers_of(immediate, [A, B], 0) == [1, 2]


def test_an_object_that_is_seen_once_gets_no_number_and_uses_none_up():
    tracker = Tracker(Track(confirm=2), HIGH)
    assert numbers_of(tracker, [A, B], 0.0) == [0, 0]
    assert numbers_of(tracker, [A], 0.1) == [1]
    assert numbers_of(tracker, [A, B], 0.2) == [1, 0]
    assert numbers_of(tracker, [A, B], 0.3) == [1, 2]


@pytest.mark.parametrize(("gap_s", "expected"), [(0.9, 1), (1.1, 2)])
def test_identity_is_kept_over_gaps_up_to_a_limit_in_seconds(gap_s, expected):
    """The limit is in seconds. It does not depend on the number of frames in the gap."""
    for frames_between in (0, 5, 50):
        tracker = Tracker(Track(confirm=1, max_gap_s=1.0), HIGH)
        assert numbers_of(tracker, [A], 0.0) == [1]
        for frame in range(frames_between):
            assert numbers_of(tracker, [], gap_s * (frame + 1) / (frames_between + 1)) == []
        assert numbers_of(tracker, [A], gap_s) == [expected]


def test_numbers_are_never_reused():
    tracker = Tracker(Track(confirm=1, max_gap_s=0.05), HIGH)
    seen = []
    for frame in range(20):
        seen += numbers_of(tracker, [A] if frame % 2 else [], frame / 10)
    assert seen == list(range(1, 11))


def test_boxes_with_low_scores_continue_tracks_but_begin_none():
    tracker = Tracker(Track(confirm=1, low_score=0.1), HIGH)
    assert numbers_of(tracker, [A], 0.0) == [1]
    assert numbers_of(tracker, [A, B], 0.1, scores=[0.2, 0.2]) == [1, 0]
    assert numbers_of(tracker, [A, B], 0.2, scores=[0.05, 0.2]) == [0, 0]
    answer = tracker.update(boxes(B), np.array([0.2]), np.zeros(1, np.int64), 10**9)
    assert answer.keys.tolist() == [-1]


def test_tracks_are_class_wise_unless_the_settings_say_otherwise():
    for class_wise, expected in ((True, [2]), (False, [1])):
        tracker = Tracker(Track(confirm=1, class_wise=class_wise), HIGH)
        assert numbers_of(tracker, [A], 0.0, classes=[3]) == [1]
        assert numbers_of(tracker, [A], 0.1, classes=[4]) == expected


def test_equal_input_gives_equal_numbers():
    scene = Scene(crowd(30), seconds=3.0, missed=0.1, weak=0.1, false_alarms=1.0, dropped=0.2)
    first, second = (track(scene, Tracker(Track(), HIGH)) for _ in range(2))
    assert all(np.array_equal(one.identities, other.identities) for one, other in zip(first, second, strict=True))


def test_the_order_of_the_boxes_does_not_matter():
    rows = [A, B, (0.3, 0.5, 0.4, 0.7)]
    for order in ([0, 1, 2], [2, 0, 1]):
        tracker = Tracker(Track(confirm=1), HIGH)
        assert numbers_of(tracker, rows, 0) == [1, 2, 3]
        assert numbers_of(tracker, [rows[index] for index in order], 0.1) == [index + 1 for index in order]


def test_times_that_go_backwards_or_stand_still_are_no_error():
    tracker = Tracker(Track(confirm=1), HIGH)
    assert [numbers_of(tracker, [A], time_s) for time_s in (1.0, 1.0, 0.5, 2.0)] == [[1]] * 4


def test_boxes_without_area_are_no_error():
    tracker = Tracker(Track(confirm=1), HIGH)
    for frame in range(3):
        assert len(numbers_of(tracker, [(0.5, 0.5, 0.5, 0.5), A], frame / 30)) == 2


def test_one_step_over_a_gap_equals_several_steps():
    once, often = (Motion(coordinates(boxes(A, B))) for _ in range(2))
    for motion in (once, often):
        motion.correct(np.array([0, 1]), coordinates(boxes(A, B) + 0.01))
        motion.speed[:, 2:] = 0  # The process noise depends on the size of the object, so the size must not change.
    once.predict(0.5)
    for _ in range(5):
        often.predict(0.1)
    for name in Motion.__slots__:
        assert getattr(once, name) == pytest.approx(getattr(often, name))


def test_the_filter_learns_the_speed_and_smooths_positions():
    rng, speed = np.random.default_rng(0), np.array([0.2, -0.1, 0.0, 0.0])
    truth = coordinates(boxes(A)) + speed * np.arange(60)[:, None] / 30
    noisy = truth + rng.normal(0, 0.05, truth.shape) * np.array([0.1, 0.2, 0.1, 0.2])
    motion, errors = Motion(noisy[:1].copy()), []
    for measured_row, true_row in zip(noisy[1:], truth[1:], strict=True):
        motion.predict(1 / 30)
        motion.correct(np.array([0]), measured_row[None])
        errors.append((np.abs(motion.position[0] - true_row).mean(), np.abs(measured_row - true_row).mean()))
    assert motion.speed[0, :2] == pytest.approx(speed[:2], abs=0.06)
    filtered, raw = np.mean(errors[20:], axis=0)
    assert filtered < 0.8 * raw


def test_boxes_are_grown_on_all_sides():
    spread = np.array([[0.01, 0.02], [0.0, 0.0]])
    others = boxes(A, B, (0.22, 0.1, 0.32, 0.3))
    margin = GROWTH * np.concatenate([-spread, spread], axis=1)
    for row, (box, own) in enumerate(zip(boxes(A, A), margin, strict=True)):
        assert grown_ious(boxes(A, A), spread, others)[row] == pytest.approx(
            iou_matrix((box + own)[None], others + own)[0]
        )


def test_assignment_begins_with_the_largest_similarity():
    rows, columns = assign(np.array([[0.9, 0.8, 0.0], [0.85, 0.0, 0.0], [0.0, 0.0, 0.1]]), 0.2)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0)]
    rows, columns = assign(np.array([[0.5, 0.5], [0.5, 0.5]]), 0.2)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0), (1, 1)]
    for shape in ((0, 3), (3, 0), (0, 0)):
        assert assign(np.zeros(shape), 0.2)[0].size == 0


def objects(*pairs):
    """Return objects, each with an identity and a box."""
    return Objects(
        np.array([identity for identity, _ in pairs], np.int64),
        boxes(*(box for _, box in pairs)),
        np.zeros(len(pairs), np.int64),
        np.ones(len(pairs)),
    )


def test_the_metrics_count_switches_misses_and_false_alarms():
    truth = [objects((0, A), (1, B))] * 4
    perfect = quality(truth, [objects((7, A), (9, B))] * 4)
    assert (perfect.mota, perfect.idf1, perfect.switches) == (1, 1, 0)
    swapped = quality(truth, [objects((7, A), (9, B))] * 2 + [objects((9, A), (7, B))] * 2)
    assert (swapped.mota, swapped.idf1, swapped.switches) == (0.75, 0.5, 2)
    missed = quality(truth, [objects((7, A))] * 4)
    assert (missed.mota, missed.idf1, missed.switches) == (0.5, pytest.approx(8 / 12), 0)
    alarm = quality(truth, [objects((7, A), (9, B), (8, (0, 0.8, 0.1, 0.9)))] * 4)
    assert (alarm.mota, alarm.idf1) == (0.5, pytest.approx(16 / 20))
    assert best_total({(0, 0): 5, (0, 1): 4, (1, 0): 4}) == 8
    assert best_total({}) == 0

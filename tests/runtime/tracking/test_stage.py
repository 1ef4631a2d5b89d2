"""Tracking as a stage of the loop: streams, several models, cascades, recordings, drawing and the command."""

import json

import cv2
import numpy as np
import pytest
from helpers.bundles import BUNDLES
from helpers.detectors import detector_bundle
from helpers.factories import ListSource
from helpers.tracks import Objects, quality

import orilla.runtime
from orilla.devices.errors import ConfigError
from orilla.runtime.argument_parser import CommandParser
from orilla.runtime.cli import main
from orilla.runtime.commands import track_options
from orilla.runtime.frame import Frame
from orilla.runtime.loop.loop import CameraLoop
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.replay import Replay
from orilla.runtime.loop.stream import Stream
from orilla.runtime.scenes import KINDS, visible_objects
from orilla.runtime.tasks.detect import Box, Detection
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.task import DecodeContext, Located
from orilla.runtime.tracking.result import TrackedDetection
from orilla.runtime.tracking.stage import TrackStage
from orilla.runtime.tracking.track import Track

HW = (64, 96)
GATE = {"gate": ((0.5, 1.0), (0.5, 0.0))}
"""A line that points upwards, so that `in` means to the right."""


COLUMNS = 6
"""Number of cell columns in which the detector finds objects."""


def colored(red, blue=None):
    """Return an image with a red cell in column `red`, and a blue cell below it in column `blue`."""
    image = np.zeros((*HW, 3), np.uint8)
    image[16:32, 16 * red : 16 * red + 16, 2] = 255
    if blue is not None:
        image[32:48, 16 * blue : 16 * blue + 16, 0] = 255
    return image


def drive(count=2 * COLUMNS):
    """Return images in which a red object moves right and a blue object moves left. Both move in every second image."""
    return [colored(index // 2, COLUMNS - 1 - index // 2) for index in range(count)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return detector_bundle(tmp_path_factory.mktemp("tracking") / "colors.orilla")


@pytest.fixture(scope="module")
def model(bundle):
    with orilla.runtime.open(bundle) as opened:
        yield opened


def numbers(ticks, label):
    """Return the track IDs of the objects with a label, as one set per tick."""
    return [{box.track for box in tick.result.boxes if box.label == label} for tick in ticks]


def test_objects_get_numbers_and_are_counted(model):
    ticks = list(model.stream(drive(), track=Track(lines=GATE, count_at="centre", rate_hz=10)))
    assert [bool(tick.result.boxes[0].track) for tick in ticks] == [False, False, *[True] * 10]
    red, blue = (set().union(*numbers(ticks[2:], label)) for label in ("red", "blue"))
    assert len(red) == len(blue) == 1
    assert red != blue
    assert ticks[-1].result.counts["gate"].to_dict() == {
        "in": 1,
        "out": 1,
        "classes": {"blue": {"in": 0, "out": 1}, "red": {"in": 1, "out": 0}},
    }
    document = ticks[-1].to_dict()
    assert document["result"]["counts"]["gate"]["in"] == 1
    assert {box["track"] for box in document["result"]["boxes"]} == red | blue
    assert ticks[-1].stages_ms["track"] > 0
    assert isinstance(ticks[-1].result, Located)


def test_track_true_uses_the_default_settings(model):
    ticks = list(model.stream(drive(), track=True))
    assert ticks[-1].result.counts == {}
    assert ticks[-1].to_dict()["result"]["counts"] == {}
    assert all(box.track for box in ticks[-1].result.boxes)


def test_without_track_nothing_changes(model):
    for tick in model.stream(drive()):
        assert type(tick.result) is Detection
        assert "track" not in tick.stages_ms
        assert "counts" not in tick.to_dict()["result"]


def test_statistics_have_the_stage(model):
    with model.stream(drive(), track=True) as stream:
        list(stream)
        assert stream.stats(recent=False).stages["track"].p50_ms > 0


def test_two_streams_of_one_model_do_not_mix(model):
    """Both streams number their objects from 1, although they run at the same time."""
    settings = Track(confirm=1, lines=GATE, count_at="centre")
    images = [colored(index // 2) for index in range(2 * COLUMNS)]
    with model.stream(images, track=settings) as first, model.stream(images[::-1], track=settings) as second:
        pairs = list(zip(first, second, strict=True))
    assert all(one.result.boxes[0].track == other.result.boxes[0].track == 1 for one, other in pairs)
    assert pairs[-1][0].result.counts["gate"].total == {"in": 1, "out": 0}
    assert pairs[-1][1].result.counts["gate"].total == {"in": 0, "out": 1}


def test_a_model_without_boxes_is_refused(tmp_path):
    with orilla.runtime.open(BUNDLES / "road.orilla") as road:
        with pytest.raises(ConfigError, match=r"`track` needs a detector: road\.orilla has the task segment"):
            road.stream(drive(), track=True)
        with pytest.raises(ConfigError, match="`track` needs a detector: none of a and b finds boxes"):
            orilla.runtime.together(a=road, b=road).stream(drive(), track=True)


def test_other_values_than_settings_are_refused(model):
    with pytest.raises(ConfigError, match="track='yes': must be True, False or an object of the class Track"):
        model.stream(drive(), track="yes")


def test_a_watcher_tracks(model):
    seen = []
    model.watch(drive(), lambda tick: seen.append(len(tick.result.boxes)), track=Track(confirm=1)).wait()
    assert seen == [2] * 2 * COLUMNS


def test_several_models_track_what_the_detectors_find(model):
    with orilla.runtime.open(BUNDLES / "road.orilla") as road:
        both = orilla.runtime.together(colors=model, road=road, again=model)
        ticks = list(both.stream(drive(), track=Track(confirm=1, lines=GATE)))
    result = ticks[-1].result
    assert {box.track for box in result["colors"].boxes} == {box.track for box in result["again"].boxes} == {1, 2}
    assert result["colors"].counts["gate"].total == {"in": 1, "out": 1}
    assert not isinstance(result["road"], TrackedDetection)
    assert "counts" in ticks[-1].to_dict()["result"]["answers"]["colors"]


def test_a_cascade_selects_crops_from_tracked_objects(model):
    seen = []

    def once(answer, image):
        """Return the boxes of objects that were not seen before."""
        new = [box for box in answer.boxes if box.track and box.track not in seen]
        seen.extend(box.track for box in new)
        return [box.xyxy for box in new]

    ticks = list(orilla.runtime.cascade(model, model, crop=once).stream(drive(), track=True))
    assert sorted(seen) == [1, 2]
    assert [len(tick.result.parts) for tick in ticks] == [0, 0, 2, *[0] * 9]
    default = list(orilla.runtime.cascade(model, model).stream(drive(), track=True))
    assert len(default[-1].result.parts) == len(default[-1].result.first.boxes)
    with orilla.runtime.open(BUNDLES / "road.orilla") as road, pytest.raises(ConfigError, match="needs a detector"):
        orilla.runtime.cascade(road, model).stream(drive(), track=True)


def test_a_recording_repeats_numbers_and_counts_byte_for_byte(model, tmp_path):
    path = tmp_path / "drive.rec"
    ticks = list(model.stream(drive(), track=Track(confirm=1, lines=GATE), record=path))
    replay = Replay.read(path)
    assert replay.recorded_decisions() == replay.repeated_decisions()
    documents = [json.loads(line)["result"] for line in replay.recorded_decisions().splitlines()]
    assert documents == [json.loads(json.dumps(tick.result.to_dict())) for tick in ticks]
    assert len(replay.simulate(infer_ms=5).delivered) == len(ticks)


def test_equal_streams_give_equal_results(model):
    settings = Track(lines=GATE, zones={"left": ((0, 0), (0.5, 0), (0.5, 1), (0, 1))})
    first, second = ([tick.result.to_dict() for tick in model.stream(drive(), track=settings)] for _ in range(2))
    assert first == second


class Timed(ListSource):
    """A live source whose frames have the given capture times. Gaps between the times simulate dropped frames."""

    def __init__(self, images, times_s):
        super().__init__(images, live=True)
        self._times_s = times_s

    def read(self):
        frame = super().read()
        return frame and Frame(frame.index, frame.image, round(1e9 * self._times_s[frame.index]))


@pytest.mark.parametrize(("away_s", "expected"), [(0.5, 1), (1.5, 2)])
def test_gaps_are_measured_with_capture_times(model, away_s, expected):
    """The object is missing in only one frame. The length of the gap is the time between the captures."""
    images = [colored(2), np.zeros((*HW, 3), np.uint8), colored(2)]
    source = Timed(images, [100.0, 100.0 + away_s / 2, 100.0 + away_s])
    ticks = list(model.stream(source, policy="every", track=Track(confirm=1)))
    assert numbers(ticks, "red") == [{1}, set(), {expected}]


CONTEXT = DecodeContext(KINDS, None, None, HeadSpec("nms_in_graph", {"detections": "out"}, score_threshold=0.5))


def stage(**settings):
    return TrackStage(Track(**{"confirm": 1, **settings}), CONTEXT)


def answer(*boxes, frame_hw=(100, 200)):
    return Detection(tuple(Box(*box) for box in boxes), frame_hw)


TREE, CAR = ("tree", 0.9, (10.0, 20.0, 30.0, 60.0)), ("vehicle", 0.8, (100.0, 20.0, 140.0, 40.0))


def test_boxes_with_low_scores_are_decoded_but_only_kept_for_tracks():
    tracker = stage(low_score=0.2)
    assert tracker.context.head.score_threshold == 0.2
    assert [box.track for box in tracker(answer(TREE), 0).boxes] == [1]
    weak = (TREE[0], 0.3, TREE[2]), (CAR[0], 0.3, CAR[2])
    assert [(box.label, box.track) for box in tracker(answer(*weak), 10**8).boxes] == [("tree", 1)]
    assert stage(low_score=0.9).context.head.score_threshold == 0.5


def test_a_new_size_of_the_frames_changes_nothing():
    tracker = stage()
    assert [box.track for box in tracker(answer(TREE, CAR), 0).boxes] == [1, 2]
    doubled = [(label, score, tuple(2 * edge for edge in box)) for label, score, box in (CAR, TREE)]
    assert [box.track for box in tracker(answer(*doubled, frame_hw=(200, 400)), 10**8).boxes] == [2, 1]


def test_objects_count_at_the_lower_edge_or_the_centre():
    """The zone contains the lower edge of the car, but not its centre."""
    zone = {"zone": ((0.4, 0.35), (0.8, 0.35), (0.8, 0.6), (0.4, 0.6))}
    assert stage(zones=zone)(answer(CAR), 0).counts["zone"]["inside"] == 1
    assert stage(zones=zone, count_at="centre")(answer(CAR), 0).counts["zone"]["inside"] == 0


def test_nothing_is_stored_about_objects_that_left():
    """A stream may run for months, so only tracks that may continue are stored."""
    tracker = stage(lines=GATE, zones={"zone": ((0, 0), (1, 0), (1, 1))})
    for frame in range(300):
        x = 40.0 * (frame % 5)
        tracker(answer(("tree", 0.9, (x, 10.0, x + 20, 60.0))), frame * 10**9 // 2)
    assert len(tracker._history) <= 3
    assert all(len(vars(one)[name]) <= 5 for one in tracker._counting.values() for name in vars(one) if name[1] in "si")
    assert len(tracker._tracker.keys) <= 5


@pytest.mark.parametrize("size_hw", [(1, 1), (12, 16), (48, 64), (480, 640), (2160, 3840), (40, 2000)])
def test_drawing_fits_images_of_every_size(size_hw):
    settings = {
        "lines": {"gate": ((0.0, 1.0), (1.0, 1.0))},
        "zones": {"a long name of a zone": ((0.2, 0.2), (1.0, 0.2), (0.5, 1.0))},
    }
    tracker = stage(**settings)
    height, width = size_hw
    for frame in range(3):
        box = tuple(np.multiply((0.1 * frame, 0.1, 0.1 * frame + 0.5, 0.9), (width, height, width, height)).tolist())
        result = tracker(answer(("tree", 0.9, box), frame_hw=size_hw), frame * 10**8)
    image = np.zeros((height, width, 3), np.uint8)
    assert result.draw(image) == ["1 tree"]
    assert image.any()
    assert len(result.trail(1)) == 3


def test_lines_zones_and_trails_are_drawn():
    tracker = stage(lines={"gate": ((0.1, 0.5), (0.9, 0.5))})
    for frame in range(5):
        x = 100.0 + 20 * frame
        result = tracker(answer(("tree", 0.9, (x, 200.0, x + 40, 300.0)), frame_hw=(480, 640)), frame * 10**8)
    image = np.zeros((480, 640, 3), np.uint8)
    result.draw(image)
    assert image[240, 70:90].any(axis=1).all()  # the line
    assert image[243:262, 320].any(axis=1).all()  # the arrow towards `in`
    assert image[299:302, 122:195].any(axis=(0, 2)).all()  # the trail along the lower edges of the boxes


class SceneStages:
    """Stages that find the objects of computer-generated scenes, with noise, as a detector would."""

    def __init__(self, seed, size_hw, settings):
        self._seed, self._size_hw = seed, size_hw
        self._track = TrackStage(settings, CONTEXT)
        self._rng = np.random.default_rng(seed)
        self._identities = {}
        self.truth = []

    def prepare(self, raw):
        return raw

    def answer(self, prepared, raw, timer):
        found = [one for one in visible_objects(self._seed, timer.frame_ns / 1e9, self._size_hw) if one.clear]
        boxes = np.array([one.box_xyxy for one in found], float).reshape(-1, 4)
        names = [(one.kind, one.identity) for one in found]
        numbers = np.array([self._identities.setdefault(name, len(self._identities)) for name in names], np.int64)
        self.truth.append(Objects(numbers, boxes, np.zeros(len(found), np.int64), np.ones(len(found))))
        side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        noisy = boxes + self._rng.normal(0, 0.02, boxes.shape) * side
        kept = self._rng.random(len(found)) >= 0.05
        result = tuple(
            Box(one.kind, 0.8, tuple(box)) for one, box, keep in zip(found, noisy.tolist(), kept, strict=True) if keep
        )
        timer.lap("decode")
        tracked = self._track(Detection(result, self._size_hw), timer.frame_ns)
        timer.lap("track")
        return tracked


class Film(ListSource):
    """A recorded source with a frame rate, whose images are not used."""

    def __init__(self, count, rate_hz):
        super().__init__([np.zeros((8, 8, 3), np.uint8)] * count)
        self.rate_hz = rate_hz


@pytest.mark.parametrize(("policy", "mota", "idf1"), [("every", 0.88, 0.88), ("rate:15", 0.8, 0.83)])
def test_objects_of_scenes_keep_their_numbers(policy, mota, idf1):
    """A drive of five seconds with vehicles, trees and buildings that hide each other and leave the image."""
    results = []
    for seed in (1, 3, 10):
        stages = SceneStages(seed, (180, 320), Track())
        with Stream(CameraLoop(Film(150, 30.0), stages, Policy.parse(policy))) as stream:
            ticks = list(stream)
        answers = []
        for tick in ticks:
            boxes = [box for box in tick.result.boxes if box.track]
            answers.append(
                Objects(
                    np.array([box.track for box in boxes], np.int64),
                    np.array([box.xyxy for box in boxes], float).reshape(-1, 4),
                    np.zeros(len(boxes), np.int64),
                    np.ones(len(boxes)),
                )
            )
        results.append(quality(stages.truth, answers))
    assert np.mean([result.mota for result in results]) >= mota
    assert np.mean([result.idf1 for result in results]) >= idf1
    assert np.mean([result.switches for result in results]) <= 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("drive")
    for index, image in enumerate(drive()):
        cv2.imwrite(str(path / f"{index:02d}.png"), image)
    return path


def test_the_command_tracks_and_counts(bundle, folder, capfd):
    arguments = ["run", str(bundle), "--source", str(folder)]
    options = ["--count-line", "gate=0.5,1,0.5,0", "--zone", "right half=0.5,0,1,0,1,1,0.5,1", "--count-at", "centre"]
    assert main([*arguments, *options]) == 0
    out, err = capfd.readouterr()
    last = json.loads(out.splitlines()[-1])["result"]
    assert last["counts"]["gate"]["in"] == last["counts"]["gate"]["out"] == 1
    # The blue object was in the zone from the start, and has left it.
    right_half = {"inside": 1, "entered": 1}
    assert last["counts"]["right half"] == {**right_half, "classes": {"red": right_half}}
    assert "gate: 1 in, 1 out (blue 0 in, 1 out; red 1 in, 0 out)" in err
    assert "\ntrack " in err
    assert main([*arguments, *options, "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert summary["counts"] == last["counts"]
    assert summary["p50_ms"]["track"] > 0
    assert main([*arguments, "--json"]) == 0
    assert "counts" not in json.loads(capfd.readouterr().out)


def test_the_options_become_settings():
    def settings(*words):
        parser = CommandParser()
        track_options.add_arguments(parser)
        return track_options.track_of(parser.parse_args(words))

    assert settings() is None
    assert settings("--track") == Track()
    assert settings("--track-gap", "2") == Track(max_gap_s=2.0)
    assert settings("--track-any-class") == Track(class_wise=False)
    assert settings("--count-at", "centre") == Track(count_at="centre")
    assert settings("--zone", "a=b=0,0,1,0,1,1") == Track(zones={"a=b": ((0, 0), (1, 0), (1, 1))})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count-line", "gate"], "--count-line gate: must be a name and points in fractions"),
        (["--count-line", "gate=1,2,x,3"], "--count-line gate=1,2,x,3: must be"),
        (["--count-line", "gate=0,0,1"], "as in gate=0.1,0.6,0.9,0.6"),
        (["--count-line", "a=0,0,1,1", "--count-line", "a=0,0,1,0"], "the name a is given twice"),
        (["--count-line", "a=0,0,1,7"], "line a: (1.0, 7.0) is not a point"),
        (["--zone", "a=0,0,1,1"], "zone a needs three or more points"),
        (["--track-gap", "0"], "--track-gap 0.0: must be seconds"),
        (["--track"], "--track needs a detector: road.orilla has the task segment"),
    ],
)
def test_wrong_options_are_refused_with_one_line(options, message, folder, capfd):
    assert main(["run", str(BUNDLES / "road.orilla"), "--source", str(folder), *options]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count("\n") == 1

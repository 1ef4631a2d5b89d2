"""Policies, recordings, replays and sinks use each frame's own time in a video with a variable frame rate."""

import av
import pytest
from helpers import factories

import orilla.runtime
from orilla.runtime.frame import Frame, media_time_ns
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.recording import StepEntry
from orilla.runtime.loop.replay import Replay
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sources.paced import Paced

MS = 1_000_000
TIMES_MS = (0, 10, 20, 30, 1000, 1010, 2000, 2500, 2510, 4000)
"""Times of frames in milliseconds. Their mean rate is 2.5 per second."""


class Variable:
    """Source whose frames each have a time."""

    live = False
    rate_hz = 2.5

    def __init__(self):
        self._index = 0

    def read(self):
        index, self._index = self._index, self._index + 1
        if index == len(TIMES_MS):
            return None
        return Frame(index, factories.picture(), 1 + index, time_ns=TIMES_MS[index] * MS)

    def close(self):
        pass


@pytest.fixture(scope="module")
def model(tiny_bundle):
    with orilla.runtime.open(tiny_bundle) as opened:
        yield opened


def test_the_policy_rate_goes_by_the_frames_own_times(model):
    ticks = list(model.stream(Variable(), policy="rate:1"))
    assert [tick.index for tick in ticks] == [0, 4, 6, 9]
    assert [tick.to_dict()["time_ns"] for tick in ticks] == [0, 1000 * MS, 2000 * MS, 4000 * MS]


def test_a_file_plays_at_the_frames_own_times():
    now = 5 * MS
    waits = []

    def wait(seconds):
        nonlocal now
        waits.append(seconds)
        now += round(1e9 * seconds)

    source = Paced(Variable(), clock=lambda: now, wait=wait)
    frames = [item for item in iter(source.read, None) if isinstance(item, Frame)]
    assert [frame.captured_ns // MS - 5 for frame in frames[1:]] == list(TIMES_MS[1:])
    assert max(waits) <= 0.25
    assert [frame.time_ns // MS for frame in frames] == list(TIMES_MS)


def test_a_recording_and_its_replay_keep_the_times(model, tmp_path):
    path = tmp_path / "drive.rec"
    list(model.stream(Variable(), record=path))
    replay = Replay.read(path)
    admitted = [entry.time_ns for entry in replay.entries if isinstance(entry, StepEntry) and entry.verb == "admit"]
    assert admitted == [time * MS for time in TIMES_MS]
    outcome = replay.simulate(Policy.parse("latest"), infer_ms=100)
    assert [answer.captured_ns for answer in outcome.delivered] == [
        TIMES_MS[answer.index] * MS for answer in outcome.delivered
    ]
    assert [answer.index for answer in outcome.delivered] == [0, 3, 4, 5, 6, 7, 8, 9]


def test_a_video_shows_every_answer_in_time(model, tmp_path):
    path = tmp_path / "out.mp4"
    sink = sink_opener(f"video:{path}").open(Setup(10.0))
    for tick in model.stream(Variable()):
        assert sink.write(tick)
    sink.close()
    with av.open(path) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert times == pytest.approx([time_ms / 1000 for time_ms in TIMES_MS], abs=1e-3)


def test_without_times_of_their_own_frames_are_timed_by_the_rate():
    frame = Frame(5, factories.picture(), 0)
    assert media_time_ns(frame, 25.0) == 200 * MS
    assert media_time_ns(frame, None) is None

"""Replay of a recorded loop: it repeats the decisions byte for byte, or simulates another policy."""

import os

import msgspec
import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import DataError, OutputError
from orilla.runtime.frame import Event
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.replay import Replay


class Jumpy(factories.ListSource):
    """A live source that reports a `lost` event and a `corrupt` event."""

    def __init__(self, count):
        super().__init__([factories.picture(seed=seed) for seed in range(count)], live=True)
        self.message = iter([Event("lost", 5, 0, "lost"), Event("corrupt", 5, 0, "corrupt")])

    def read(self):
        return (next(self.message, None) if self._index == 5 else None) or super().read()


@pytest.fixture(scope="module")
def model(tiny_bundle):
    with orilla.runtime.open(tiny_bundle) as opened:
        yield opened


@pytest.mark.parametrize("policy", ["latest", "every", "rate:400", "deadline:1000", "deadline:0.001"])
def test_the_same_events_lead_to_the_same_decisions_byte_for_byte(model, policy, tmp_path):
    path = tmp_path / "drive.rec"
    ticks = list(model.stream(Jumpy(60), policy=policy, record=path, on_event=lambda event: None))
    replay = Replay.read(path)
    assert replay.header.policy == policy
    decided = replay.recorded_decisions()
    assert decided == replay.repeated_decisions()
    lines = decided.splitlines()
    answers = [line for line in lines if b'"result"' in line]
    assert len(answers) == len(ticks)
    # Each of the sixty frames, and the corrupt frame, is answered or dropped for a stated reason.
    assert len(lines) == 61
    if policy == "deadline:0.001":
        assert not ticks
        assert decided.count(b'"deadline"') > 0


def test_other_decisions_for_the_same_events_are_seen(model, tmp_path):
    """Replacing the policy with `every` simulates a later version of the loop that makes different decisions."""
    path = tmp_path / "drive.rec"
    list(model.stream(Jumpy(60), policy="rate:50", record=path, on_event=lambda event: None))
    replay = Replay.read(path)
    replay.header = msgspec.structs.replace(replay.header, policy="every")
    assert replay.recorded_decisions() != replay.repeated_decisions()


def recorded(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


HEADER = '{"line":"header","schema":1,"policy":"latest","live":true,"rate_hz":30.0}'


def drive(path, *, count=90, period_ms=33, infer_ms=50.0, prepare_ms=1.0):
    """Write and read a recording of a camera with a period of `period_ms`. Each frame took 1 ms to prepare."""
    lines = [HEADER]
    for index in range(count):
        at = index * period_ms * 1_000_000
        lines.append(f'{{"line":"step","verb":"admit","at_ns":{at},"index":{index},"time_ns":{at}}}')
        lines.append(f'{{"line":"frame","index":{index},"captured_ns":{at},"stages_ms":{{"prepare":1.0}}}}')
        stages_ms = f'{{"prepare":{prepare_ms},"infer":{infer_ms},"decode":0.5}}'
        lines.append(f'{{"line":"result","index":{index},"stages_ms":{stages_ms},"result":{{}}}}')
    return Replay.read(recorded(path, lines))


def test_another_policy_in_simulated_time(tmp_path):
    replay = drive(tmp_path / "a.rec")
    latest, deadline, fast = (
        replay.simulate(),
        replay.simulate(Policy.parse("deadline:20")),
        replay.simulate(infer_ms=5),
    )
    assert {reason for _, _, reason in latest.dropped} == {"superseded"}
    assert "deadline" in {reason for _, _, reason in deadline.dropped}
    assert max(answer.began_ns - answer.captured_ns for answer in deadline.delivered) <= 20_000_000
    assert not fast.dropped
    assert len(fast.delivered) == 90


def test_the_preparation_of_crops_counts_for_the_inference_thread(tmp_path):
    """A cascade prepares its crops after the first model's inference. The time for this is added to `prepare`."""
    replay = drive(tmp_path / "a.rec", infer_ms=20.0, prepare_ms=31.0)
    assert {answer.delivered_ns - answer.began_ns for answer in replay.simulate().delivered} == {50_500_000}


def test_simulations_are_equal(tmp_path):
    replay = drive(tmp_path / "a.rec")
    assert replay.simulate() == replay.simulate()


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ([], "is empty"),
        (["hello"], "line 1 is not valid in a recording"),
        (['{"line":"drop","at_ns":1,"index":1,"reason":"deadline"}'], "one header"),
        ([HEADER, HEADER], "one header"),
        ([HEADER.replace('"schema":1', '"schema":7')], "version 7"),
        ([HEADER, '{"line":"drop","at_ns":1,"index":1,"reason":"bored"}'], "line 2"),
        ([HEADER.replace("latest", "newest")], "unknown policy"),
    ],
)
def test_what_is_no_recording(tmp_path, lines, match):
    path = tmp_path / "bad.rec"
    path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(ValueError, match=match):
        Replay.read(path)


def test_a_recording_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        Replay.read(tmp_path / "none.rec")


def test_a_recording_that_lacks_lines_does_not_break_the_replay(model, tmp_path):
    """The replay reports the inconsistency. Only an edited recording can lack lines in the middle."""
    path = tmp_path / "drive.rec"
    list(model.stream(Jumpy(20), record=path, on_event=lambda event: None))
    lines = path.read_text().splitlines()
    for gone in range(1, len(lines)):
        rest = [line for number, line in enumerate(lines) if number != gone]
        try:
            replay = Replay.read(recorded(tmp_path / "cut.rec", rest))
            replay.recorded_decisions(), replay.repeated_decisions(), replay.simulate()
        except DataError:
            pass


def test_a_killed_loop_leaves_a_recording_that_can_be_replayed(model, tmp_path):
    path = tmp_path / "drive.rec"
    list(model.stream(Jumpy(20), record=path, on_event=lambda event: None))
    data = path.read_bytes()
    for size in range(data.index(b"\n") + 1, len(data), 97):
        (tmp_path / "cut.rec").write_bytes(data[:size])
        replay = Replay.read(tmp_path / "cut.rec")
        recorded_decisions = replay.recorded_decisions()
        assert replay.repeated_decisions()[: len(recorded_decisions)] == recorded_decisions


def test_a_recording_replaces_no_file(model, tmp_path):
    path = tmp_path / "drive.rec"
    path.write_text("old")
    with pytest.raises(
        OutputError, match=r"drive.rec already exists: choose another file name, .* as in drive-%Y%m%d-%H%M%S.rec"
    ):
        model.stream(Jumpy(3), record=path)
    assert path.read_text() == "old"
    list(model.stream(Jumpy(3), record=tmp_path / "%Y.rec", on_event=lambda event: None))
    assert len(list(tmp_path.glob("2*.rec"))) == 1


def test_a_loop_that_ends_early_leaves_its_recording(model, tmp_path):
    path = tmp_path / "drive.rec"
    with model.stream((factories.picture() for _ in range(1000)), record=path) as stream:
        next(stream)
    replay = Replay.read(path)
    assert replay.recorded_decisions() == replay.repeated_decisions()


def test_a_frame_that_could_not_be_prepared_counts_once(model, tmp_path):
    images = [factories.picture(seed=index) if index % 3 else np.zeros((0, 4, 3), np.uint8) for index in range(30)]
    path = tmp_path / "drive.rec"
    ticks = list(model.stream(factories.ListSource(images), record=path, on_event=lambda event: None))
    replay = Replay.read(path)
    assert replay.recorded_decisions() == replay.repeated_decisions()
    outcome = replay.simulate()
    assert [answer.index for answer in outcome.delivered] == [tick.index for tick in ticks]
    assert len(outcome.dropped) == 10


def test_a_file_under_a_policy_that_plays_it(model, tmp_path):
    path = tmp_path / "drive.rec"
    source = factories.ListSource([factories.picture()] * 60)
    source.rate_hz = 30.0
    list(model.stream(source, record=path))
    latest = Replay.read(path).simulate(Policy.parse("latest"), infer_ms=90)
    assert {reason for _, _, reason in latest.dropped} == {"superseded"}
    assert max(answer.age_ms for answer in latest.delivered[:-1]) < 33.4 + 90 + 10
    unrated = tmp_path / "unrated.rec"
    list(model.stream([factories.picture()] * 3, record=unrated))
    with pytest.raises(ValueError, match="no frame rate"):
        Replay.read(unrated).simulate(Policy.parse("latest"))


@pytest.mark.parametrize(
    "damage", [b"\xff\n", b'{"line":"result","index":1,"stages_ms":{},"result":' + b"[" * 5000 + b"\n"]
)
def test_lines_that_are_no_json(tmp_path, damage):
    path = tmp_path / "bad.rec"
    path.write_bytes(HEADER.encode() + b"\n" + damage)
    with pytest.raises(DataError, match="line 2"):
        Replay.read(path)


def test_a_name_that_is_no_text_does_not_end_a_recording(model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / os.fsdecode(b"a\xff.jpg")).write_bytes(b"no picture")
    factories.write_picture(folder / "b.png", factories.picture())
    path = tmp_path / "drive.rec"
    assert len(list(model.stream(folder, record=path, on_event=lambda event: None))) == 1
    assert Replay.read(path).recorded_decisions()

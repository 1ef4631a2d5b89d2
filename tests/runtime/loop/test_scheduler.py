"""Policies in simulated time: which frames are answered, which are dropped and why, and how old the answers are."""

from dataclasses import replace

import pytest

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import QUEUE_DEPTH
from orilla.runtime.loop.policy import Policy, Sampler
from orilla.runtime.loop.simulate import SimulatedFrame, simulate

MS = 1_000_000


def camera(count, *, period_ms=33, prepare_ms=1, infer_ms=5, sink_ms=1, corrupt=()):
    """Return the frames of a simulated camera. Each frame is read at the moment of its capture."""
    return [
        SimulatedFrame(
            index=index,
            captured_ns=index * period_ms * MS,
            read_ns=index * period_ms * MS,
            prepare_ns=prepare_ms * MS,
            infer_ns=infer_ms * MS,
            sink_ns=sink_ms * MS,
            corrupt=index in corrupt,
        )
        for index in range(count)
    ]


def recording(count, *, read_ms=2, **stages):
    """Return the frames of a simulated file. Reading a frame takes `read_ms`."""
    return [replace(frame, read_ns=read_ms * MS) for frame in camera(count, **stages)]


def run(frames, policy, *, live=True):
    return simulate(frames, Policy.parse(policy), live=live)


def indices(outcome):
    return [answer.index for answer in outcome.delivered]


def reasons(outcome):
    return [(index, reason) for _, index, reason in outcome.dropped]


@pytest.mark.parametrize("policy", ["latest", "every", "deadline:50", "rate:30.3"])
def test_a_fast_loop_answers_everything(policy):
    outcome = run(camera(100), policy)
    assert indices(outcome) == list(range(100))
    assert not outcome.dropped
    assert {answer.age_ms for answer in outcome.delivered} == {6.0}


def test_latest_is_never_stale():
    """If inference is slower than the camera, the age of an answer is at most one period plus one inference."""
    outcome = run(camera(300, infer_ms=50), "latest")
    assert max(answer.age_ms for answer in outcome.delivered) <= 33 + 1 + 50
    assert {reason for _, reason in reasons(outcome)} == {"superseded"}
    assert len(outcome.delivered) + len(outcome.dropped) == 300
    assert indices(outcome)[-1] == 299
    # Inference runs without pauses, so there is an answer every 50 ms.
    assert len(outcome.delivered) >= 300 * 33 // 50


def test_every_makes_a_slow_loop_late_but_loses_nothing():
    outcome = run(camera(100, infer_ms=50), "every")
    assert indices(outcome) == list(range(100))
    assert outcome.delivered[-1].age_ms > 1000


def test_a_caller_who_is_slow_gets_the_newest_answer():
    outcome = run(camera(100, sink_ms=200), "latest")
    assert {reason for _, reason in reasons(outcome)} == {"unconsumed"}
    # The last answer waits for the caller, because the camera has ended.
    assert max(answer.age_ms for answer in outcome.delivered[:-1]) <= 33 + 1 + 5
    assert outcome.delivered[-1].drops == {"unconsumed": len(outcome.dropped)}


def test_a_frame_that_is_too_old_is_dropped_before_its_inference():
    """The driver of the camera delivers frames 10 to 19 late."""
    frames = [
        replace(frame, read_ns=frame.read_ns + (40 * MS if 10 <= frame.index < 20 else 0)) for frame in camera(30)
    ]
    outcome = run(frames, "deadline:30")
    assert reasons(outcome) == [(index, "deadline") for index in range(10, 20)]
    assert max(answer.began_ns - answer.captured_ns for answer in outcome.delivered) <= 30 * MS
    assert indices(run(frames, "deadline:60")) == list(range(30))


@pytest.mark.parametrize(("rate", "answers"), [(10, 33), (15.15, 50), (1, 4), (1000, 100)])
def test_a_rate_takes_one_frame_of_each_period(rate, answers):
    outcome = run(camera(100), f"rate:{rate}")
    assert abs(len(outcome.delivered) - answers) <= 1
    assert len(outcome.delivered) + len(outcome.dropped) == 100
    assert {reason for _, reason in reasons(outcome)} <= {"rate"}


def test_the_rate_counts_the_recording_s_own_time():
    outcome = run(recording(100, infer_ms=90), "rate:10", live=False)
    assert len(outcome.delivered) == 33 or len(outcome.delivered) == 34
    assert {reason for _, reason in reasons(outcome)} == {"rate"}


def test_a_rate_doesn_t_drift_with_a_camera_s_jitter():
    sampler = Sampler(10)
    times = [int(index * 33.3 * MS + (-1) ** index * 3 * MS) for index in range(3000)]
    assert abs(sum(sampler.selects(time_ns) for time_ns in times) - 999) <= 1


def test_stages_overlap():
    """The loop takes as long as its slowest stage, not as all stages together."""
    outcome = run(recording(200, read_ms=4, prepare_ms=1, infer_ms=5, sink_ms=4), "every", live=False)
    assert outcome.delivered[-1].delivered_ns <= (200 * 5 + 20) * MS


def test_a_recording_waits_for_the_loop():
    """A file is not read far ahead of the caller."""
    outcome = run(recording(100, read_ms=1, infer_ms=10, sink_ms=1), "every", live=False)
    ages = [answer.age_ms for answer in outcome.delivered]
    assert indices(outcome) == list(range(100))
    assert max(ages) <= 10 * (QUEUE_DEPTH + 3)


def test_corrupt_frames_are_counted_and_nothing_waits_for_them():
    outcome = run(camera(10, corrupt=(3, 4)), "latest")
    assert indices(outcome) == [0, 1, 2, 5, 6, 7, 8, 9]
    assert reasons(outcome) == [(3, "corrupt"), (4, "corrupt")]
    assert outcome.delivered[-1].drops == {"corrupt": 2}


def test_a_gap_of_the_camera_costs_nothing_but_its_frames():
    frames = [frame for frame in camera(100, infer_ms=50) if not 40 <= frame.index < 70]
    outcome = run(frames, "latest")
    # Frames 39 and 99 had to wait, but were answered because no newer frame arrived.
    assert {39, 99} < set(indices(outcome))
    assert max(answer.age_ms for answer in outcome.delivered if answer.index not in (39, 99)) <= 33 + 1 + 50


def test_the_same_frames_lead_to_the_same_decisions():
    frames = camera(200, infer_ms=47, sink_ms=60)
    assert run(frames, "latest") == run(frames, "latest")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("newest", "unknown policy 'newest'"),
        ("rate", "`rate` needs a number in hertz"),
        ("rate:", "`rate` needs a number in hertz"),
        ("rate:0", "`rate` needs a number in hertz"),
        ("rate:-3", "`rate` needs a number in hertz"),
        ("rate:nan", "`rate` needs a number in hertz"),
        ("rate:inf", "`rate` needs a number in hertz"),
        ("deadline:soon", "`deadline` needs a number in milliseconds"),
        ("latest:3", "`latest` takes no number"),
        ("", "unknown policy ''"),
    ],
)
def test_an_invalid_policy_is_rejected(text, match):
    with pytest.raises(ConfigError, match=match):
        Policy.parse(text)


@pytest.mark.parametrize("text", ["latest", "every", "rate:7.5", "deadline:80"])
def test_a_policy_prints_as_it_was_given(text):
    assert str(Policy.parse(text)) == text


def test_inference_waits_for_a_frame_that_is_about_to_come():
    """An inference takes 1.5 periods.

    Without the wait, every second inference would start with a frame one period old.
    """
    frames = camera(400, period_ms=33, prepare_ms=3, infer_ms=50)
    ages = sorted(answer.age_ms for answer in run(frames, "latest").delivered[10:-1])
    assert ages[-1] <= 33 + 50
    assert len(ages) >= 0.9 * 400 * 33 / 50


def test_inference_does_not_wait_long_for_a_camera_that_stops():
    frames = [frame for frame in camera(100, prepare_ms=3, infer_ms=50) if frame.index < 50]
    outcome = run(frames, "latest")
    assert outcome.delivered[-1].index == 49
    assert outcome.delivered[-1].age_ms <= 2 * 50 + 33

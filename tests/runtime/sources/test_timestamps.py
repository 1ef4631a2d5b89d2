"""Presentation times in simulated time. Each test states the true capture time of every frame."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orilla.runtime.sources.timestamps import MAX_STAMP_AGE_NS, PresentationClock, plausible_ns

MS = 1_000_000
STATED_AFTER_MS = 8000
"""Time after which a stream that disagrees with the clock must have been reported, in milliseconds."""


def stamped(stamps, presented_ms, true_ms, delays_ms, *, reads=False):
    """Feed frames to a clock.

    If `reads` is True, the reader waits only for frames that have not arrived yet. Return the claimed minus the true
    age of each frame in milliseconds, and the notices with their times.
    """
    errors, notices, latest, before_ns = [], [], 0, 0
    for presented, true, delay in zip(presented_ms, true_ms, delays_ms, strict=True):
        arrived_ns = int((true + delay) * MS)
        waited_ns = max(0, arrived_ns - before_ns) if reads else MS
        before_ns = arrived_ns
        captured_ns = stamps.captured_ns(presented, arrived_ns, waited_ns)
        assert latest <= captured_ns <= arrived_ns
        latest = captured_ns
        errors.append((arrived_ns - captured_ns) / MS - delay)
        if notice := stamps.notice():
            notices.append((true, notice))
    return errors, notices


def times(rate_hz, seconds):
    return [1e3 * index / rate_hz for index in range(round(rate_hz * seconds))]


def p99(errors):
    return sorted(map(abs, errors))[int(0.99 * len(errors))]


def test_late_frames_get_their_presentation_time_once_the_clocks_have_agreed():
    true = times(30, 20)
    delays = [10 + (25 if index % 7 == 3 else index % 3) for index in range(len(true))]
    errors, notices = stamped(PresentationClock(), [time + 1e6 for time in true], true, delays)
    assert max(map(abs, errors[200:])) <= 10.001, "an age may lack the smallest delay only"
    assert errors[3] == -35, "at the start, the time of arrival counts"
    assert notices == []


@pytest.mark.parametrize("rate_hz", [5, 10, 12.5, 20, 24, 26, 30, 60])
def test_frames_that_were_numbered_at_25_a_second_are_stamped_when_they_arrive(rate_hz):
    """FFmpeg numbers the frames of a stream without times in this way."""
    true = times(rate_hz, 120)
    errors, notices = stamped(PresentationClock(), times(25, 120 * rate_hz / 25), true, [2 + i % 3 for i in true])
    assert max(map(abs, errors)) <= 5
    assert len(notices) == 1
    assert notices[0][0] <= STATED_AFTER_MS
    assert f"run at {rate_hz and 25 and rate_hz / 25:.2f} times the speed" in notices[0][1]


@given(
    rate=st.floats(0.5, 2),
    rate_hz=st.sampled_from([5, 10, 25, 30, 60]),
    jitter_ms=st.floats(0, 5),
    seed=st.randoms(use_true_random=False),
    origin_ms=st.floats(-1e9, 2e12),
)
@settings(max_examples=60, deadline=None)
def test_at_any_rate_of_the_times_no_age_is_wrong_by_more_than_50_ms(rate, rate_hz, jitter_ms, seed, origin_ms):
    true = times(rate_hz, 60)
    delays = [1 + seed.uniform(0, jitter_ms) for _ in true]
    errors, notices = stamped(PresentationClock(), [origin_ms + rate * time for time in true], true, delays)
    assert p99(errors) <= 50
    if abs(rate - 1) > 0.025:
        assert len(notices) == 1
    if abs(rate - 1) < 0.005 and jitter_ms < 1:
        assert notices == []


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 4000), st.sampled_from([0.0, -1e7, 1e7, 40.0, math.nan]) | st.floats(-1e5, 1e5)),
        max_size=300,
    )
)
@settings(max_examples=100, deadline=None)
def test_no_age_is_negative_or_large_whatever_the_stream_states(steps):
    """The function `stamped` checks the order of the time stamps."""
    stamps, arrived_ms, presented = PresentationClock(), 0.0, 0.0
    for waited, step in steps:
        arrived_ms += waited
        presented = step if math.isnan(presented) else presented + step
        captured_ns = stamps.captured_ns(presented, int(arrived_ms * MS))
        assert 0 <= arrived_ms * MS - captured_ns <= 1001 * MS


@pytest.mark.parametrize("drift", [100e-6, -100e-6, 1000e-6])
def test_a_camera_clock_that_drifts_is_followed(drift):
    true = times(30, 3600)
    errors, notices = stamped(PresentationClock(), [time * (1 + drift) for time in true], true, [10] * len(true))
    assert max(errors) < 3
    assert min(errors) >= -10.001
    assert notices == []


def test_a_camera_that_numbers_frames_at_its_nominal_rate_in_the_dark():
    """The camera delivers 15 frames per second instead of 30 for a minute."""
    true, time = [], 0.0
    for index in range(5400):
        true.append(time)
        time += 1e3 / 15 if 1800 <= index < 2700 else 1e3 / 30
    errors, notices = stamped(PresentationClock(), times(30, 180), true, [1] * len(true))
    assert sum(abs(error) > 50 for error in errors) <= 30, "the ages may grow for two seconds"
    assert [time > 60_000 for time, _ in notices] == [True, True]
    assert "0.50 times" in notices[0][1]
    assert "agree with the clock again" in notices[1][1]


@pytest.mark.parametrize("modulus_ms", [2**32 / 90, 2**33 / 90, 2**32 / 90_000])
def test_times_that_wrap_around(modulus_ms):
    """32-bit RTP times and 33-bit MPEG-TS times count 90 000 per second."""
    true = times(30, 90)
    presented = [(time + modulus_ms - 30_000) % modulus_ms for time in true]
    errors, notices = stamped(PresentationClock(), presented, true, [1 + index % 5 for index in range(len(true))])
    assert max(map(abs, errors)) <= 5.001
    assert notices == []


@pytest.mark.parametrize("presented", [[0.0] * 900, [1e3 * (index // 30) for index in range(900)]])
def test_times_that_stand_still_are_reported_once(presented):
    errors, notices = stamped(PresentationClock(), presented, times(30, 30), [5] * 900)
    assert set(errors) == {-5.0}
    assert [text for _, text in notices] == [
        "its presentation times jump or stand still, so the time of arrival is used as the time stamp"
    ]


def test_a_stream_without_times_is_not_reported():
    errors, notices = stamped(PresentationClock(), [None] * 900, times(30, 30), [5] * 900)
    assert set(errors) == {-5.0}
    assert notices == []


@pytest.mark.parametrize("pause_ms", [300, 800, 3000, 60_000])
def test_ages_are_right_soon_after_a_pause_without_a_gap_in_the_times(pause_ms):
    true = [time + (pause_ms if time > 30_000 else 0) for time in times(30, 120)]
    errors, notices = stamped(PresentationClock(), times(30, 120), true, [1] * len(true))
    assert sum(abs(error) > 50 for error in errors) <= 62, "the ages may be wrong for two seconds"
    assert notices == []


def test_times_are_right_after_a_restart():
    true = times(30, 60)
    errors, notices = stamped(PresentationClock(), [time % 20_000 for time in true], true, [1] * len(true))
    assert max(map(abs, errors)) <= 1.001
    assert notices == []


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("burst_ms", [200, 500, 1000])
def test_frames_that_arrive_in_bursts_get_their_own_times(burst_ms, reads):
    """A server that sends one group of pictures at a time."""
    true = times(30, 120)
    delays = [burst_ms - time % burst_ms for time in true]
    errors, notices = stamped(PresentationClock(), true, true, delays, reads=reads)
    assert p99(errors[300:]) <= 40, "an age may lack the smallest delay only"
    assert notices == []


def test_a_stall_of_the_network_does_not_end_the_agreement():
    true = times(30, 60)
    delays = [max(1, 30_700 - time) if 30_000 <= time < 30_700 else 1 for time in true]
    errors, notices = stamped(PresentationClock(), true, true, delays)
    assert max(map(abs, errors[300:])) <= 1.001
    assert notices == []


def test_frames_out_of_order_are_not_stamped_before_earlier_ones():
    """The packets of B-frames arrive after the packet of the frame that follows them."""
    stamps = PresentationClock()
    assert stamps.captured_ns(0.0, 100 * MS) == 100 * MS
    assert stamps.captured_ns(40.0, 200 * MS) == 200 * MS
    assert stamps.captured_ns(80.0, 190 * MS) == 200 * MS


@pytest.mark.parametrize(("rate_hz", "too_young_ms"), [(30, 1.01), (None, 61_000)])
def test_a_reader_that_is_too_slow_is_reported_and_ages_grow_truly(rate_hz, too_young_ms):
    """The machine decodes 20 of 30 frames per second, so that the frames wait in the network."""
    stamps, errors, notices = PresentationClock(), [], []
    free_ms = 0.0
    for index, true in enumerate(times(30, 60)):
        took_ms = 50 if index > 600 else 5
        read_ms = max(free_ms, true + 1)
        waited_ns = int((read_ms - free_ms) * MS)
        free_ms = read_ms + took_ms
        captured_ns = stamps.captured_ns(true if rate_hz else None, int(read_ms * MS), waited_ns)
        errors.append(captured_ns / MS - true)
        if notice := stamps.notice():
            notices.append(notice)
    assert max(errors[200:]) < too_young_ms
    assert min(errors) >= -0.01
    assert free_ms > 79_000, "the last frame is 20 s old"
    assert notices == ["its frames arrive faster than they are read, so they queue, and may be older than stated"]


def test_a_driver_s_time_that_cannot_be_right_is_not_used():
    now = 10**13
    assert plausible_ns(now - 5, now) == now - 5
    for wrong in (now + 1, now - MAX_STAMP_AGE_NS, 0, -1, 2 * 10**18):
        assert plausible_ns(wrong, now) == now

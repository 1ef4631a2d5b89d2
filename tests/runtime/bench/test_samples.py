"""Percentiles and their intervals, for distributions with known percentiles."""

from statistics import NormalDist

import numpy as np
import pytest

from orilla.runtime.bench.samples import min_samples, mlperf_samples, ranks, summarise

ROUNDS = 1500


def lognormal(rng, count):
    return np.exp(rng.normal(0, 0.3, count))


def two_humps(rng, count):
    """Return times with two modes, because a tenth of the inferences is interrupted."""
    return np.where(rng.random(count) < 0.1, rng.normal(8.0, 0.5, count), rng.normal(4.0, 0.1, count))


def in_steps(rng, count):
    """Return times as measured by a clock with a resolution of a hundredth of a millisecond."""
    return np.round(rng.gamma(9.0, 0.5, count), 2)


def heavy(rng, count):
    return 1.0 + rng.pareto(2.5, count)


def truth(draw, percent):
    return np.percentile(draw(np.random.default_rng(99), 4_000_000), percent)


@pytest.mark.parametrize(
    ("draw", "count"), [(lognormal, 400), (lognormal, 2000), (two_humps, 1000), (in_steps, 400), (heavy, 400)]
)
def test_intervals_cover_what_they_say(draw, count):
    """The nominal coverage is 95 %. The test allows 93 to 97 %, plus the random error of 1,500 rounds (0.6 %)."""
    rng = np.random.default_rng(7)
    true = {percent: truth(draw, percent) for percent in (50, 90, 99)}
    hits = dict.fromkeys(true, 0)
    for _ in range(ROUNDS):
        summary = summarise(draw(rng, count))
        for percent in true:
            interval = summary.at(percent)
            low = -np.inf if interval.low_ms is None else interval.low_ms
            high = np.inf if interval.high_ms is None else interval.high_ms
            hits[percent] += low <= true[percent] <= high
    for percent, hit in hits.items():
        # If many times are equal, the intervals can only become wider.
        lower, upper = (0.93, 0.975) if draw is not in_steps else (0.93, 1.0)
        assert lower <= hit / ROUNDS <= upper, (percent, hit / ROUNDS)


@pytest.mark.parametrize("likeness", [0.5, 0.9])
def test_times_that_are_like_the_one_before_widen_the_interval(likeness):
    """If 5,000 values come from an autoregressive series, their effective sample size is much smaller than 5,000."""
    rng, count, hits = np.random.default_rng(3), 5000, {50: 0, 90: 0}
    for _ in range(250):
        noise = rng.normal(0, np.sqrt(1 - likeness**2), count + 200)
        series = np.empty(count + 200)
        series[0] = rng.normal()
        for index in range(1, series.size):
            series[index] = likeness * series[index - 1] + noise[index]
        summary = summarise(np.exp(0.2 * series[200:]))
        for percent in hits:
            interval = summary.at(percent)
            hits[percent] += interval.low_ms <= np.exp(0.2 * NormalDist().inv_cdf(percent / 100)) <= interval.high_ms
    assert summary.at(50).independent < 0.5 * count
    for percent, hit in hits.items():
        assert 0.92 <= hit / 250 <= 0.98, (percent, hit / 250)


def test_a_percentile_that_the_samples_cannot_carry_is_left_out():
    assert [min_samples(percent) for percent in (50, 90, 99, 99.9)] == [6, 36, 368, 3688]
    summary = summarise(np.arange(1, 101, dtype=float))
    assert summary.at(99) is None
    assert summary.withheld() == {"p99": 368}
    assert summary.at(90).ms == 90
    assert summary.max_ms == 100
    assert summarise([1.0, 2.0]).percentiles == ()


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        summarise([])


def test_counts_of_mlperf():
    """The numbers of samples equal those in MLPerf's table. The margin of error is a twentieth of the tail."""
    assert [mlperf_samples(percent) for percent in (90, 95, 97, 99)] == [24576, 57344, 90112, 270336]


def test_ranks_by_hand():
    """The median lies between the 40th and the 61st of 100 samples with a probability of 95.4 to 96.5 %."""
    low, high = ranks(100, 50)
    assert 39 <= low <= 41
    assert 60 <= high <= 62
    assert ranks(20, 99)[1] == 21  # 20 samples are too few for an upper bound of p99.


def test_equal_times_are_one_percentile():
    interval = summarise(np.full(1000, 3.0)).at(99)
    assert (interval.low_ms, interval.ms, interval.high_ms) == (3.0, 3.0, 3.0)
    assert interval.error == 0

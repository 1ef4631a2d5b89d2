"""Streams: `async for`, callbacks, several models, cascades, statistics, and memory allocation per frame."""

import asyncio
import contextlib
import threading
import tracemalloc

import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.loop.quantiles import ERROR, Quantiles
from orilla.runtime.loop.stages import bounding_box
from orilla.runtime.loop.stats import LoopStats
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.placement import stretched
from orilla.runtime.tasks.segmentation import Segmentation


@pytest.fixture(scope="module")
def model(tiny_bundle):
    with orilla.runtime.open(tiny_bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def second(tiny_bundle):
    with orilla.runtime.open(tiny_bundle, variant="litert_fp32") as opened:
        yield opened


def pictures(count):
    return [factories.picture(97, 131, seed) for seed in range(count)]


def endless():
    while True:
        yield factories.picture()


def test_pictures_of_the_caller_are_a_source(model):
    answers = [tick.result.probability for tick in model.stream(np.stack(pictures(4)))]
    singles = [model(picture).result.probability for picture in pictures(4)]
    assert np.array_equal(answers, singles)
    assert len(list(model.stream(picture for picture in pictures(3)))) == 3
    with pytest.raises(ConfigError, match=r"images must have the shape \[N,H,W,3\]"):
        model.stream(pictures(1)[0])


def test_async_for(model):
    async def collect():
        others = 0

        async def beside():
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(beside())
        indices = [tick.index async for tick in model.stream(pictures(5))]
        task.cancel()
        return indices, others

    indices, others = asyncio.run(collect())
    assert indices == list(range(5))
    assert others > 5, "the event loop stood still"


def test_an_error_of_the_source_reaches_an_async_for(model):
    async def collect():
        source = factories.ListSource(pictures(1), error=SourceError("the cable is out"))
        async for _ in model.stream(source):
            pass

    with pytest.raises(SourceError, match="the cable is out"):
        asyncio.run(collect())


def test_an_async_for_that_is_cancelled_loses_no_answer(model):
    gate = threading.Semaphore(0)

    def slow():
        for picture in pictures(6):
            assert gate.acquire(timeout=20)
            yield picture

    async def collect():
        indices = []
        async with model.stream(slow()) as stream:
            task = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            gate.release(6)
            indices += [tick.index async for tick in stream]
        return indices

    assert asyncio.run(collect()) == list(range(6))


def test_an_async_for_that_waits_can_be_left(model):
    """The source never delivers a frame. After cancellation, no thread may continue to wait for a frame."""
    over = threading.Event()

    def never():
        over.wait(20)
        yield from ()

    async def collect():
        async with model.stream(never()) as stream:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(anext(stream), 0.05)
            over.set()

    asyncio.run(collect())
    assert not loop_threads()


def loop_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("orilla-")]


def test_an_event_handler_that_closes_the_stream_closes_the_source(model):
    class Lossy(factories.ListSource):
        def read(self):
            return Event("lost", 0, 0, "lost") if self._index == 2 else super().read()

    source = Lossy(pictures(5))
    stream = model.stream(source, on_event=lambda event: stream.close())
    assert len(list(stream)) <= 2
    stream.close()
    assert source.closed
    assert not loop_threads()


def test_a_second_close_waits_for_the_first(model):
    source = factories.ListSource(pictures(5))
    stream = model.stream(source)
    next(stream)
    closers = [threading.Thread(target=stream.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    stream.close()
    assert source.closed
    for closer in closers:
        closer.join(20)


def test_a_stream_that_was_never_read_closes_its_source(model):
    source = factories.ListSource(pictures(5))
    model.stream(source).close()
    assert source.closed


def test_other_objects_are_rejected_as_a_source(model):
    class Half:
        def read(self):
            return None

    with pytest.raises(ConfigError, match="Half is not a source: it lacks live, rate_hz, close"):
        model.stream(Half())
    for wrong in (None, 1.5):
        with pytest.raises(ConfigError, match="is not a source"):
            model.stream(wrong)
    with pytest.raises(SourceError, match="no camera at 97"):
        model.stream(np.int64(97))


def test_texts_of_the_caller_are_a_source():
    with orilla.runtime.open("sentiment") as words:
        events = []
        ticks = list(words.stream(["a fine film", 3, "a dull film"], on_event=events.append))
    assert [tick.index for tick in ticks] == [0, 2]
    assert [tick.frame.text for tick in ticks] == ["a fine film", "a dull film"]
    assert "expected a string, got int" in events[0].detail


def test_a_function_is_called_with_each_answer(model):
    indices = []
    watcher = model.watch(pictures(5), lambda tick: indices.append(tick.index))
    assert watcher.wait(20)
    assert indices == list(range(5))
    assert not watcher.running
    assert watcher.stats().frames == 5


def test_a_watcher_is_stopped_from_outside_and_from_inside(model):
    seen = threading.Event()
    with model.watch(endless(), lambda tick: seen.set()) as watcher:
        assert seen.wait(20)
    assert not watcher.running
    begun, stopping = threading.Event(), []

    def stop(tick):
        assert begun.wait(20)
        stopping[0].stop()

    stopping.append(model.watch(endless(), stop))
    begun.set()
    assert stopping[0].wait(20)


def test_wait_raises_an_error_of_the_function(model):
    watcher = model.watch(pictures(5), lambda tick: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        watcher.wait(20)


def test_several_models_share_a_source(model, second):
    both = orilla.runtime.together(small=model, full=second)
    reads = factories.ListSource(pictures(3))
    ticks = list(both.stream(reads))
    assert reads._index == 3
    for tick, picture in zip(ticks, pictures(3), strict=True):
        assert set(tick.result) == {"small", "full"}
        assert np.array_equal(tick.result["small"].probability, model(picture).result.probability)
        assert np.array_equal(tick.result["full"].probability, second(picture).result.probability)
    assert set(ticks[0].to_dict()["result"]) == {"task", "answers"}
    single = both(pictures(1)[0])
    assert np.array_equal(single.result["small"].probability, ticks[0].result["small"].probability)
    with pytest.raises(ConfigError, match="needs at least one model"):
        orilla.runtime.together()


def test_a_cascade_runs_the_second_model_on_the_crops_of_the_first(model, second):
    boxes = [(10, 20, 60, 90), (-5, -5, 500, 500), (50, 50, 50, 80), (2.4, 3.0, 40.2, 50.0)]
    chain = orilla.runtime.cascade(model, second, crop=lambda answer, image: boxes)
    (tick,) = chain.stream(pictures(1))
    assert [part.box_xyxy for part in tick.result.parts] == [(10, 20, 60, 90), (0, 0, 131, 97), (2, 3, 40, 50)]
    alone = second(np.ascontiguousarray(pictures(1)[0][20:90, 10:60])).result.probability
    assert np.array_equal(tick.result.parts[0].answer.probability, alone)
    assert tick.to_dict()["result"]["parts"][0]["box_xyxy"] == [10, 20, 60, 90]


def test_a_crop_function_that_returns_no_box(model, second):
    for nothing in (None, [], ()):
        chain = orilla.runtime.cascade(model, second, crop=lambda answer, image, nothing=nothing: nothing)
        assert chain(pictures(1)[0]).result.parts == ()


def test_a_source_that_returns_arrays_is_rejected_with_the_expected_type(model):
    class Arrays(factories.ListSource):
        def read(self):
            return factories.picture()

    with pytest.raises(SourceError, match=r"Arrays.read\(\) returned a ndarray; it must return a Frame"):
        list(model.stream(Arrays([])))


def test_an_invalid_box_is_named(model, second):
    with pytest.raises(ConfigError, match="left, top, right, bottom"):
        list(orilla.runtime.cascade(model, second, crop=lambda answer, image: [(1, 2)]).stream(pictures(1)))


def test_the_bounding_box_of_a_segmentation():
    probability = np.zeros((16, 32), np.float32)
    segmentation = Segmentation(probability, stretched((160, 640), (64, 128)), "road", 0.5)
    assert bounding_box(segmentation, np.empty(0)) == []
    probability[4:8, 10:20] = 1
    assert bounding_box(segmentation, np.empty(0)) == [(200, 40, 400, 80)]
    for height, width in ((29, 29), (7, 101), (1, 1)):
        whole = Segmentation(np.ones((56, 56), np.float32), stretched((height, width), (112, 112)), "road", 0.5)
        assert whole.box_xyxy == (0, 0, width, height)


def test_a_closed_model_says_so(tiny_bundle):
    with orilla.runtime.open(tiny_bundle) as opened:
        stream = opened.stream(endless())
        next(stream)
    with pytest.raises(ConfigError, match="is closed: open it again"):
        opened(factories.picture())
    with pytest.raises(ConfigError, match="is closed"):
        for _ in stream:
            pass


def test_a_policy_that_needs_a_frame_rate(model):
    with pytest.raises(ConfigError, match="no frame rate"):
        model.stream(pictures(3), policy="rate:5")
    with pytest.raises(ConfigError, match="no frame rate"):
        model.stream(pictures(3), policy="latest")


def test_a_tick_is_printed_without_its_pixels(model):
    tick = model(pictures(1)[0])
    assert len(repr(tick)) < 500
    assert "'task': 'segment'" in repr(tick)
    assert "131x97" in repr(tick.frame)


class Reused:
    """A camera that writes its frames into reused buffers."""

    rate_hz = None

    def __init__(self, size_hw, count, *, live):
        self.live, self._left, self._size_hw, self._pool = live, count, size_hw, BufferPool()

    def read(self):
        if not self._left:
            return None
        self._left -= 1
        return Frame(self._left, self._pool.take((*self._size_hw, 3)), 0)

    def close(self):
        pass


@pytest.mark.parametrize("live", [False, True])
def test_no_memory_of_a_frame_s_size_is_taken_once_the_loop_runs(model, live):
    """The loop reuses all buffers as large as a frame, including the buffer of the mask, which the caller reads."""
    size_hw = (720, 1280)
    # Without `on_event`, events are logged, and pytest keeps the log in memory.
    with model.stream(Reused(size_hw, 100_000, live=live), on_event=lambda _: None) as stream:
        held = [(tick, tick.result.mask()) for tick in (next(stream) for _ in range(16))]
        del held  # The loop has now allocated more buffers than it uses at the same time.
        tracemalloc.start()
        try:
            for _ in range(5):
                next(stream).result.mask().any()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            for _ in range(60):
                next(stream).result.mask().any()
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    assert peak < size_hw[0] * size_hw[1] / 4


def test_percentiles_are_within_their_error():
    rng = np.random.default_rng(3)
    for values in (
        rng.lognormal(1, 1, 20_000),
        rng.uniform(0.01, 2, 5000),
        np.r_[np.full(990, 5.0), np.full(10, 80.0)],
    ):
        quantiles = Quantiles()
        for value in values:
            quantiles.add(float(value))
        ranked = np.sort(values)
        for percent, estimate in zip((1, 50, 90, 99, 100), quantiles.at(1, 50, 90, 99, 100), strict=True):
            true = ranked[max(1, int(np.ceil(len(values) * percent / 100))) - 1]
            assert abs(estimate - true) <= 1.001 * ERROR * true
        assert quantiles.max == values.max()
        assert quantiles.count == len(values)
    assert Quantiles().at(50) == (0.0,)
    assert Quantiles().max == 0


def test_percentiles_of_extreme_values():
    quantiles = Quantiles()
    for value in (0.0, -1.0, 1e-9, float("nan"), 1e12, float("inf")):
        quantiles.add(value)
    assert quantiles.at(50)[0] <= 1e-3
    assert quantiles.max == float("inf")


def test_a_window_forgets():
    second = 1_000_000_000
    quantiles = Quantiles(window_s=10)
    for index in range(100):
        quantiles.add(100.0 if index < 50 else 1.0, index * second // 2)
    assert quantiles.max == 1.0
    assert 18 <= quantiles.count <= 22
    quantiles.forget(1000 * second)
    assert quantiles.count == 0
    assert quantiles.max == 0


def test_figures_of_a_loop():
    stats, second = LoopStats(), 1_000_000_000
    result = None
    for index in range(11):
        frame = Frame(index, np.empty((1, 1, 3), np.uint8), index * second // 10)
        tick = Tick(frame, result, {"infer": 5.0}, frame.captured_ns + 20_000_000, {})
        stats.delivered(tick)
        stats.done(tick, tick.delivered_ns + 3_000_000)
    stats.drops = {"superseded": 11}
    figures = stats.figures(1_100_000_000)
    assert figures.frames == 11
    assert figures.fps == pytest.approx(10)
    assert figures.drop_ratio == 0.5
    assert figures.age_ms == pytest.approx(100)
    assert figures.stages["age"].p99_ms == pytest.approx(20, rel=ERROR)
    assert figures.stages["sink"].max_ms == pytest.approx(3)
    assert figures.stages["total"].p50_ms == pytest.approx(23, rel=ERROR)
    assert stats.figures(200 * second).stages["age"].max_ms == 0
    assert stats.figures(200 * second).fps < 0.1
    assert stats.figures(200 * second, recent=False).stages["age"].max_ms == pytest.approx(20)


def test_a_stream_s_figures(model):
    with model.stream(pictures(20)) as stream:
        assert stream.stats().frames == 0
        for _ in stream:
            stream.note("steer", 1.5)
        figures = stream.stats(recent=False)
    assert figures.frames == 20
    assert set(figures.stages) == {"capture", "prepare", "infer", "decode", "age", "sink", "total", "steer"}
    assert figures.stages["steer"].p50_ms == pytest.approx(1.5, rel=ERROR)
    assert figures.stages["total"].p50_ms >= figures.stages["age"].p50_ms

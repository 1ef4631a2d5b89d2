"""The contract of every source and every sink."""

import cv2
import numpy as np
import pytest
from helpers import factories

from orilla.runtime.frame import Tick
from orilla.runtime.sinks.sink import SINKS, sink_opener
from orilla.runtime.sources.registry import open_source
from orilla.runtime.tasks.segment import decode


@pytest.fixture(params=["video", "folder", "picture", "scenes"])
def spec(request, tmp_path):
    if request.param == "video":
        return factories.video(tmp_path / "clip.avi", 4)
    if request.param == "scenes":
        return "scenes:2"
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), factories.picture())
    return tmp_path if request.param == "folder" else tmp_path / "a.png"


def test_frames_count_up_are_stamped_and_are_bgr_pictures(spec):
    source = open_source(spec)
    assert isinstance(source.live, bool)
    assert source.rate_hz is None or source.rate_hz > 0
    last = -1
    for expected, frame in enumerate(iter(source.read, None)):
        assert frame.index == expected
        assert frame.image.ndim == 3
        assert frame.image.dtype == np.uint8
        assert frame.image.shape[2] == 3
        assert frame.captured_ns > last
        last = frame.captured_ns
        if expected == 5:
            break
    assert last > 0
    source.close()


def test_the_end_stays_the_end(spec):
    if spec == "scenes:2":
        pytest.skip("scenes last ten seconds")
    source = open_source(spec)
    while source.read() is not None:
        pass
    assert source.read() is None
    source.close()


def test_two_sources_don_t_disturb_each_other(spec):
    one, other = open_source(spec), open_source(spec)
    first = one.read().image.copy()
    other.read()
    assert np.array_equal(first, open_source(spec).read().image)
    one.close()
    other.close()


@pytest.mark.parametrize("name", sorted(set(SINKS) - {"window"}))
def test_a_sink_takes_ticks_of_changing_size_and_leaves_one_whole_file(name, tmp_path):
    path = tmp_path / "out.avi"
    sink = sink_opener(f"{name}:{path}")(25.0)
    for index, size in enumerate([(48, 64), (30, 50), (480, 640)]):
        frame = factories.ListSource([factories.picture(*size)]).read()
        result = decode(np.full((1, 4, 4, 1), 0.7, np.float32), size, "road")
        assert sink.write(Tick(frame, result, {"infer": 1.0}, 1000 + index)) is True
        assert not path.exists()
    sink.close(complete=True)
    assert [file.name for file in tmp_path.iterdir()] == ["out.avi"]
    assert path.stat().st_size > 0

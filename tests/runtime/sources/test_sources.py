import os
import sys

import cv2
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.sources.registry import open_source


def read_all(source):
    try:
        return [(frame.index, frame.image.copy(), frame.captured_ns) for frame in iter(source.read, None)]
    finally:
        source.close()


def test_a_video_gives_every_frame_in_order(tmp_path):
    path = factories.video(tmp_path / "clip.avi", 12)
    source = open_source(path)
    assert source.rate_hz == 25
    assert not source.live
    frames = read_all(source)
    assert [index for index, _, _ in frames] == list(range(12))
    for index, image, _ in frames:
        assert abs(float(image.mean()) - (10 * index + 5)) < 3
    stamps = [stamp for _, _, stamp in frames]
    assert stamps == sorted(stamps)


def test_a_buffer_is_used_again_only_when_nobody_holds_it(tmp_path):
    source = open_source(factories.video(tmp_path / "clip.avi", 12))
    addresses = {source.read().image.ctypes.data for _ in range(6)}
    assert len(addresses) == 1
    held = [source.read().image for _ in range(6)]
    assert len({image.ctypes.data for image in held}) == 6
    for index, image in enumerate(held):
        assert abs(float(image.mean()) - (10 * (index + 6) + 5)) < 3
    source.close()


def test_a_folder_gives_its_pictures_by_name(tmp_path):
    for name in ("b.png", "a.jpg", "c.bmp"):
        cv2.imwrite(str(tmp_path / name), factories.picture())
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_source(tmp_path)
    assert [source.read().name for _ in range(3)] == ["a.jpg", "b.png", "c.bmp"]
    assert source.read() is None


def test_grey_and_deep_pictures_become_bgr(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 6), 80, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 6, 3), 80 * 257, np.uint16))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((4, 6, 4), 80, np.uint8))
    for _, image, _ in read_all(open_source(tmp_path)):
        assert image.shape == (4, 6, 3)
        assert image.dtype == np.uint8
        assert image[0, 0, 0] == 80


def test_a_folder_named_like_a_source_does_not_shadow_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes").mkdir()
    assert open_source("scenes").read() is not None
    with pytest.raises(SourceError, match="no images"):
        open_source("./scenes")


def test_a_file_name_that_is_not_utf8_is_read_all_the_same(tmp_path):
    path = tmp_path / os.fsdecode(b"a\xff.png")
    path.write_bytes(cv2.imencode(".png", factories.picture())[1].tobytes())
    assert open_source(tmp_path).read().name == "a\ufffd.png"


def test_scenes_are_a_source():
    source = open_source("scenes:3")
    first, second = source.read(), source.read()
    assert (first.index, second.index) == (0, 1)
    assert first.image.shape == (360, 640, 3)


def refuse(spec, match, error=SourceError):
    with pytest.raises(error, match=match) as caught:
        read_all(open_source(spec))
    assert "\n" not in str(caught.value)


def test_a_missing_source_is_rejected_in_one_line(tmp_path, capfd):
    refuse(tmp_path / "none.mp4", "no such file")
    refuse("frames/none", "no such file")
    refuse("webcam", "unknown source 'webcam'", ConfigError)
    refuse("scenes:\u00b2", "whole number", ConfigError)
    refuse("x" * 5000, "cannot read")
    refuse("97", "no camera at 97")
    refuse("/dev/video97", "no camera at /dev/video97")
    refuse(tmp_path, "no images or videos in")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5000])
def test_a_file_that_is_not_a_video_is_rejected(tmp_path, content, capfd):
    (tmp_path / "clip.mp4").write_bytes(content)
    refuse(tmp_path / "clip.mp4", "is not a video|is empty")
    assert capfd.readouterr().err == ""


def test_a_video_without_frames(tmp_path):
    path = factories.video(tmp_path / "clip.avi", 0)
    refuse(path, "is not a video|no frames")


def test_without_pyav_a_video_is_refused(tmp_path, monkeypatch):
    path = factories.video(tmp_path / "clip.avi")
    for name in ("video", "av_frames", "video_container", "missing_frames"):
        monkeypatch.delitem(sys.modules, f"orilla.runtime.sources.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    refuse(path, 'clip.avi needs PyAV, which is not installed: pip install "av>=17"')


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("bad.png", b"not a picture", "not an image, or damaged"),
        ("bad.jpg", b"", "the file is empty"),
        ("bad.heic", factories.HEIC, "HEIC is not supported; convert it to JPEG"),
        ("bad.jpg", factories.HEIC, "HEIC is not supported; convert it to JPEG"),
    ],
)
def test_an_image_that_cannot_be_read_is_reported_and_skipped(tmp_path, name, data, why):
    for name_of_good in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name_of_good), factories.picture())
    (tmp_path / name).write_bytes(data)
    first, event, last = iter(open_source(tmp_path).read, None)
    assert (first.name, last.name, last.index) == ("a.png", "c.png", 2)
    assert (event.kind, event.index) == ("corrupt", 1)
    assert event.detail == f"cannot decode {tmp_path / name}: {why}"

"""A video file or a folder of images makes Orilla read no other file, and never blocks the loop."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import DataError, SourceError
from orilla.devices.gate import read_file
from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources.registry import open_source
from orilla.runtime.sources.video_container import PLAYLISTS, open_container

PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n"
SESSION = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
PACKAGE = '<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"></CompositionPlaylist>'

ATTACKS = {
    "concat": ("video.mp4", "ffconcat version 1.0\nfile secret.ts\n"),
    "concat with a mark": ("video.mp4", "\ufeffffconcat version 1.0\nfile secret.ts\n"),
    "concat of a path": ("video.avi", "ffconcat version 1.0\nfile '/etc/hostname'\n"),
    "concat in a folder": ("video.mkv", "ffconcat version 1.0\nfile folder/secret.ts\n"),
    "concat with a directive": ("video.mkv", "ffconcat version 1.0\nstream\nfile secret.ts\n"),
    "hls": ("video.m3u8", PLAYLIST),
    "hls as mp4": ("video.mp4", PLAYLIST),
    "hls with a mark": ("video.mp4", "\ufeff" + PLAYLIST),
    "hls with spaces": ("video.mp4", "\n  " + PLAYLIST),
    "sdp": ("video.sdp", SESSION),
    "imf": ("video.xml", f'<?xml version="1.0"?>{PACKAGE}'),
    "vobsub": ("video.idx", "# VobSub index file, v7\nid: en, index: 0\n"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a video that a playlist may name."""
    (tmp_path / "folder").mkdir()
    for place in (tmp_path, tmp_path / "folder"):
        with av.open(str(place / "secret.ts"), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            image = np.zeros((48, 64, 3), np.uint8)
            for packet in [*stream.encode(av.VideoFrame.from_ndarray(image)), *stream.encode()]:
                container.mux(packet)
    return tmp_path


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_playlist_is_refused(attack: str, folder: Path):
    name, text = ATTACKS[attack]
    (folder / name).write_text(text)
    with pytest.raises(SourceError, match=name):
        open_source(folder / name)


def test_ffmpeg_itself_refuses_playlists(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """These formats are excluded, whatever the first bytes of the file are."""
    monkeypatch.setattr("orilla.runtime.sources.video_container.KNOWN_HEADS", ())
    for attack in ("concat", "hls", "sdp"):
        name, text = ATTACKS[attack]
        (folder / name).write_text(text)
        with pytest.raises(SourceError):
            open_container(folder / name)
    assert {"concat", "hls"} <= PLAYLISTS


def test_a_real_video_still_opens(folder: Path):
    source = open_source(folder / "secret.ts")
    assert isinstance(source.read(), Frame)
    source.close()


@pytest.fixture
def pipes(tmp_path: Path) -> Path:
    """Return a folder of images with a pipe that has no writer, and links to endless devices."""
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    factories.write_picture(tmp_path / "c.png", factories.picture())
    return tmp_path


def test_a_pipe_in_a_folder_does_not_block_the_loop(pipes: Path):
    source = open_source(pipes)
    items = []
    while (item := source.read()) is not None:
        items.append(item)
    assert isinstance(items[-1], Frame)
    assert items[-1].name == "c.png"
    assert all(isinstance(item, Event) and "device or pipe" in item.detail for item in items[:-1])


def test_the_gate_refuses_what_is_no_file(pipes: Path):
    for name in ("a.png", "b.png"):
        with pytest.raises(DataError, match="device or pipe"):
            read_file(pipes / name, 100)
    with pytest.raises(DataError, match="Is a directory"):
        read_file(pipes, 100)
    with pytest.raises(DataError, match="the limit"):
        read_file(pipes / "c.png", 10)
    with pytest.raises(DataError, match="No such file"):
        read_file(pipes / "d.png", 10)

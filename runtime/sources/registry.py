"""How a name, a path, a URL or a camera's number becomes a source."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import ConfigError, SourceError, unknown_name
from orilla.devices.names import whole_number
from orilla.runtime.preprocessing.image_file import PICTURES
from orilla.runtime.sources.source import Source, picture_files

ANIMATED = ".gif"
"""A file that is played like a video, unless it lies among pictures in a folder."""


def open_source(spec: str | int | Path) -> Source:
    """Opens a camera, a network stream, a pipeline, a video file, a folder of pictures or one picture, or `scenes`.

    Args:
        spec: a camera's number or `/dev/video…`; a URL such as `rtsp://HOST/NAME`; a GStreamer pipeline, with ` ! ` in
            it or `gst:` before it; `picamera2` or `picamera2:NUMBER`; `scenes` or `scenes:SEED`,
            `scenes+clock` with the time drawn into it; or a path: `./scenes` is one.

    Raises:
        SourceError: no such file, camera or server, or not a video.
        ConfigError: an unknown name, or not a URL or pipeline that can be opened.
    """
    text = str(spec)
    if not text:
        msg = "the source is empty: give a camera number, a URL, a file, a folder or scenes"
        raise ConfigError(msg)
    if whole_number(text) or text.startswith("/dev/video"):
        from orilla.runtime.sources.camera import Camera

        return Camera.open(int(text) if whole_number(text) else text)
    scheme, has_scheme, _ = text.partition("://")
    if has_scheme and scheme.isalnum():
        return _open_url(text, scheme.lower())
    name, _, argument = text.partition(":")
    if name == "gst" or " ! " in text:
        from orilla.runtime.sources.gstreamer import Pipeline

        return Pipeline.open(text)
    if name == "picamera2":
        from orilla.runtime.sources.picamera import PiCamera

        return PiCamera.open(argument)
    if name in ("scenes", "scenes+clock"):
        from orilla.runtime.sources.scenes import Scenes

        return Scenes.open(argument, clocked=name == "scenes+clock")
    path = Path(text)
    try:
        return _open_path(path)
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        msg = f"cannot read {text[:200]}: {error.strerror or error}"
        raise SourceError(msg) from error


def open_texts(spec: str | Path) -> Source:
    """Opens the texts that a text model answers: a text file, or `-` for standard input, line by line.

    Raises:
        SourceError: no such file.
    """
    from orilla.runtime.sources.text_lines import Lines

    return Lines.open(str(spec))


def _open_url(url: str, scheme: str) -> Source:
    from orilla.runtime.sources.network import SCHEMES, NetworkStream

    if scheme not in SCHEMES:
        msg = "kind of URL"
        raise unknown_name(msg, scheme, SCHEMES)
    return NetworkStream.open(url)


def _open_path(path: Path) -> Source:
    if path.is_dir() or (path.is_file() and path.suffix.lower() in set(PICTURES) - {ANIMATED}):
        from orilla.runtime.sources.images import Images

        return Images.open(picture_files(path) if path.is_dir() else [path], str(path))
    if path.is_file():
        from orilla.runtime.sources.video import VideoFile

        return VideoFile.open(path)
    if path.exists():
        msg = f"{path} is neither a file nor a folder"
        raise SourceError(msg)
    if path.suffix or len(path.parts) > 1:
        msg = f"no such file: {path}"
        raise SourceError(msg)
    msg = "source"
    raise unknown_name(
        msg, str(path), ["a camera number", "a URL", "a file", "a folder of pictures", "picamera2", "scenes"]
    )

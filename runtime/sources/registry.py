"""Open a source from a name, a path, a URL or a camera number."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import ConfigError, SourceError, unknown_name
from orilla.devices.names import whole_number
from orilla.runtime.preprocessing.image_file import PICTURES
from orilla.runtime.sources.source import Source, picture_files

ANIMATED = ".gif"
"""Suffix of a file that plays like a video, except in a folder of images."""


def open_source(spec: str | int | Path) -> Source:
    """Open a camera, a network stream, a pipeline, a video file, a folder of images, one image, or `scenes`.

    Args:
        spec: A camera number or `/dev/video…`; a URL such as `rtsp://HOST/NAME`; a GStreamer pipeline that contains ` !
            ` or starts with `gst:`; `picamera2` or `picamera2:NUMBER`; `scenes`, `scenes:SEED`, or `scenes+clock`,
            which draws the time into the images; or a path. `./scenes` is a path.

    Raises:
        SourceError: The file, camera or server does not exist, or the file is not a video.
        ConfigError: The name is unknown, or the URL or pipeline is invalid.
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
    """Open a source of texts: a text file, or `-` for standard input, line by line.

    Raises:
        SourceError: The file does not exist.
    """
    from orilla.runtime.sources.text_lines import Lines

    return Lines.open(str(spec))


def _open_url(url: str, scheme: str) -> Source:
    from orilla.runtime.sources.network import SCHEMES, NetworkStream

    if scheme not in SCHEMES:
        raise unknown_name(scheme, SCHEMES, kind="kind of URL")
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
    raise unknown_name(
        str(path), ["a camera number", "a URL", "a file", "a folder of images", "picamera2", "scenes"], kind="source"
    )

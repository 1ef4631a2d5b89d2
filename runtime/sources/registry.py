"""The table of sources, and the function that opens a source by its name, path, URL or camera number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from orilla.devices.errors import ConfigError, SourceError, neighbour, unknown_name
from orilla.devices.names import whole_number, without_secrets
from orilla.devices.plugins import ModuleRegistry, Modules

if TYPE_CHECKING:
    from orilla.runtime.sources.source import Source

STILL = ("JPEG", "PNG", "TIFF", "WebP", "AVIF", "HEIC")
"""Image formats that are recognised by their content."""

HEAD_BYTES = 1 << 16
"""Number of bytes at the start of an image file that are searched for the mark of an animation."""


class SourceKind(NamedTuple):
    """A kind of source: a function that recognises its specification, and the module that opens it."""

    example: str
    """Example or description of a specification, for messages."""
    recognises: Callable[[str], bool]
    """Function that returns True if a specification is of this kind. Orilla does not call it for a plug-in, whose
    specification is always `NAME` or `NAME:ARGUMENT`."""
    module: str
    """Module whose `open_source(spec)` opens the source: its name in the folder `sources`, or its full name for a
    plug-in."""


def _is_url(text: str) -> bool:
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.isalnum()


def _is_camera(text: str) -> bool:
    return whole_number(text.partition("?")[0]) or text.startswith("/dev/video")


def _is_picamera(text: str) -> bool:
    return text.partition("?")[0].partition(":")[0] == "picamera2"


def is_named(*names: str) -> Callable[[str], bool]:
    """Return a function that recognises the specifications `NAME` and `NAME:ARGUMENT`."""
    return lambda text: text.partition(":")[0] in names


def _is_image(text: str) -> bool:
    from orilla.runtime.sources.file_names import is_glob, is_numbered

    path = Path(text)
    if (is_glob(text) or is_numbered(text)) and ":" not in path.parts[0]:
        return True
    return path.is_dir() or (path.is_file() and _has_image(path) and not _is_animated(path))


def _has_image(path: Path) -> bool:
    """Return True if a file is an image according to its suffix or its content.

    A `.mjpeg` file begins like an image, but is a video.
    """
    # Import these modules only here. They import NumPy and OpenCV, which the help texts do not need.
    from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES
    from orilla.runtime.preprocessing.image_format import format_of

    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    with path.open("rb") as file:
        return format_of(file.read(64)) in STILL and not path.suffix.lower().startswith(".mj")


def _is_animated(path: Path) -> bool:
    """Return True for an image file that is played as a video: a GIF, or an animated PNG, AVIF or WebP file.

    Source: The PNG specification, third edition (chunk `acTL`), and the AVIF specification (brand `avis`).
    """
    from orilla.runtime.sources.source import is_animated_webp

    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    png = head.startswith(b"\x89PNG") and b"acTL" in head.partition(b"IDAT")[0]
    return png or head.startswith(b"GIF8") or head[4:12] == b"ftypavis" or is_animated_webp(head)


def _is_pipeline(text: str) -> bool:
    return text.startswith("gst:") or (" ! " in text and not os.path.lexists(text))


def _is_video(text: str) -> bool:
    return Path(text).is_file()


BUILT_IN = {
    "camera": SourceKind("a camera number (0?size=1280x720&fps=30&format=mjpg&exposure=10)", _is_camera, "camera"),
    "network": SourceKind("a URL (rtsp://, http://)", _is_url, "network"),
    "gstreamer": SourceKind("gst:PIPELINE", _is_pipeline, "gstreamer"),
    "picamera2": SourceKind("picamera2", _is_picamera, "picamera"),
    "scenes": SourceKind("scenes", is_named("scenes", "scenes+clock"), "scenes"),
    "images": SourceKind("an image, or a folder or a glob ('DIR/*.jpg') of images and videos", _is_image, "folder"),
    "video": SourceKind("a video file", _is_video, "video"),
}
"""Kinds of sources that are part of Orilla. The first kind that recognises a specification opens it."""

SOURCES = ModuleRegistry("source", "orilla.sources", BUILT_IN, Modules(("open_source",), "orilla.runtime.sources"))
"""Kinds of sources by name. Packages add sources in the group `orilla.sources`."""


def kind_of(text: str) -> str | None:
    """Return the name of the kind that opens a specification, or None if there is none."""
    for name, kind in BUILT_IN.items():
        if kind.recognises(text):
            return name
    name = text.partition(":")[0]
    return None if SOURCES.package(name) is None else name


@runtime_checkable
class Previews(Protocol):
    """Module of a source that can describe the effect of a specification without starting the source."""

    def preview(self, spec: str) -> str | None:
        """Return a description in one line, or None if there is nothing to report."""


def preview(text: str) -> str | None:
    """Describe the effect of a specification's options on its source. Return None if there is nothing to report."""
    kind = kind_of(text)
    module = None if kind is None else SOURCES.module(kind)
    return module.preview(text) if isinstance(module, Previews) else None


def open_source(spec: str | int | Path) -> Source:
    """Open a camera, a network stream, a pipeline, a video file, a folder, a glob, one image, or `scenes`.

    | form of `spec` | source |
    |---|---|
    | `0`, `/dev/video0`, `0?size=1280x720&fps=30` | a camera, optionally with options |
    | `rtsp://HOST/NAME` | a network stream; any URL |
    | `gst:PIPELINE`, or a string that contains ` ! ` | a GStreamer pipeline |
    | `picamera2`, `picamera2:NUMBER` | a camera of a Raspberry Pi |
    | `scenes`, `scenes:SEED` | computer-generated scenes; `scenes+clock` draws the time into the images |
    | `frame%04d.png` | numbered images |
    | `pictures/**/*.jpg` | the files that match a glob |
    | a path, such as `./scenes` | a file, or a folder with all its subfolders |

    Args:
        spec: The specification of the source, in one of these forms.

    Raises:
        SourceError: The file, camera or server does not exist, or the file is not a video.
        ConfigError: The name is unknown, or the URL or pipeline is invalid.
    """
    text = str(spec)
    if not text:
        msg = "the source is empty: give a camera number, a URL, a file, a folder or `scenes`"
        raise ConfigError(msg)
    try:
        kind = kind_of(text)
        if kind is not None:
            source: Source = SOURCES.module(kind).open_source(text)
            return source
        exists = Path(text).exists()
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        msg = f'{text[:200]} needs PyAV, which is not installed: pip install "av>=17"'
        raise SourceError(msg) from error
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        msg = f"cannot read {without_secrets(text[:200])}: {error.strerror or error}"
        raise SourceError(msg) from error
    if exists:
        msg = f"{text} is neither a file nor a folder"
        raise SourceError(msg)
    if Path(text).suffix or len(Path(text).parts) > 1:
        msg = f"no such file: {without_secrets(text)}{neighbour(Path(text))}"
        raise SourceError(msg)
    raise unknown_name(text, [kind.example for kind in SOURCES.values()], kind="source")


class InputSources(NamedTuple):
    """Functions that open the sources for one kind of model input."""

    open: Callable[[str], Source]
    """Function that opens a source by its specification. It raises `SourceError` or `ConfigError`."""
    wrap: Callable[[Iterable[Any], float | None], Source]
    """Function that converts raw inputs from the caller into a source. The second argument is their frame rate."""


def _open_texts(spec: str) -> Source:
    from orilla.runtime.sources.text_lines import Lines

    return Lines.open(spec)


def _wrap_images(images: Iterable[Any], rate_hz: float | None) -> Source:
    from orilla.runtime.sources.arrays import Arrays

    return Arrays(images, rate_hz=rate_hz)


def _wrap_texts(texts: Iterable[Any], rate_hz: float | None) -> Source:
    from orilla.runtime.sources.text_lines import Texts

    del rate_hz
    return Texts(texts)


def _open_records(spec: str) -> Source:
    from orilla.runtime.sources.records import Records

    return Records.open(spec)


def _wrap_records(samples: Iterable[Any], rate_hz: float | None) -> Source:
    from orilla.runtime.sources.records import Records

    del rate_hz
    return Records.of(samples)


INPUT_SOURCES = {
    "image": InputSources(open_source, _wrap_images),
    "text": InputSources(_open_texts, _wrap_texts),
    "tensor": InputSources(_open_records, _wrap_records),
}
"""The functions for each kind of model input."""

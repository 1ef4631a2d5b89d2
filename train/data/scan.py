"""Check every sample before the first epoch: images that no camera would produce, and unreadable texts."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import track

from orilla.devices.cores import available_cores
from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image_file import decode_image, is_heic

CHUNK = 2048

MAX_NAMED = 5
"""Number of corrupt samples that an error names. The card names all skipped samples."""

COLOUR = ("RGB", "RGBA", "P", "YCbCr")
"""Pillow's modes that convert to three channels of 8 bits without loss."""

EVERYWHERE = ("JPEG", "MPO", "PNG")
"""Pillow's formats that OpenCV reads completely. Of others, such as TIFF, OpenCV reads only some kinds."""

REASONS = {"L": "grey", "LA": "grey", "1": "black and white", "CMYK": "CMYK", "F": "32-bit"}


def scan(dataset: Dataset, *, skip_corrupt: bool) -> dict[Item, str]:
    """Read every sample once and find those that cannot be used.

    Args:
        dataset: The data set.
        skip_corrupt: True returns corrupt samples instead of raising an error.

    Returns:
        The reason for each corrupt sample.

    Raises:
        DataError: There are corrupt samples, and `skip_corrupt` is False.
    """
    look = _Look(dataset)
    items = [(split, index) for split in dataset.splits for index in range(len(dataset.names(split)))]
    console = Console(stderr=True)
    parts = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    reasons: dict[Item, str] = {}
    with ThreadPoolExecutor(available_cores()) as pool:
        for part in track(parts, "checking the data", console=console, transient=True, disable=not console.is_terminal):
            found = pool.map(look, part)  # limits the tasks that wait in memory to the samples of a part
            reasons |= {item: reason for item, reason in zip(part, found, strict=True) if reason}
    others = {item: reason for item, reason in reasons.items() if reason != REASONS["L"]}
    # A data set may be completely grey. A grey image among colour images is a mistake.
    if len(reasons) - len(others) > len(items) / 2:
        reasons = others
    if reasons and not skip_corrupt:
        summary = [
            f"{dataset.names(split)[index]} is {reason}" for (split, index), reason in list(reasons.items())[:MAX_NAMED]
        ]
        more = f" and {len(reasons) - MAX_NAMED} more" if len(reasons) > MAX_NAMED else ""
        msg = (
            f"{len(reasons)} of {len(items)} samples cannot be used: {', '.join(summary)}{more}: "
            "fix them, or add --skip-corrupt"
        )
        raise DataError(msg)
    return reasons


class _Look:
    """Reads one sample and returns the reason why it cannot be used, or None."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._check: Callable[[bytes], str | None] = _picture
        if dataset.task == "text":
            self._check = _text

    def __call__(self, item: Item) -> str | None:
        if not self._dataset.is_file(*item):
            return None
        try:
            reason = self._check(self._dataset.content(*item))
            if reason is None and self._dataset.task == "segment":
                self._dataset.load(*item)  # reads its mask too
        except DataError as error:
            return str(error)
        return reason


def _text(data: bytes) -> str | None:
    try:
        return None if data.decode("utf-8-sig").strip() else "empty"
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start})"


def _picture(data: bytes) -> str | None:
    """Check an image with Pillow, which reads to the last row. OpenCV would fill missing rows with grey."""
    from PIL import Image

    if not data:
        return "empty"
    if is_heic(data):
        return "HEIC (convert it to JPEG)"
    try:
        with Image.open(io.BytesIO(data)) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format != "MPO":  # a JPEG of a camera with an embedded preview is read as a JPEG
                return f"animated ({frames} images)"
            if picture.mode.startswith("I") or any(";16" in str(tile[3]) for tile in picture.tile):
                return "16-bit"
            if picture.mode not in COLOUR:
                return str(REASONS.get(picture.mode, picture.mode))
            eighth = max(1, picture.width // 8), max(1, picture.height // 8)
            picture.draft("RGB", eighth)  # for JPEG, decoding at a lower scale saves most of the time
            picture.load()
            if picture.format not in EVERYWHERE and decode_image(data) is None:
                return f"a {picture.format} of an unsupported kind"
    except OSError as error:
        return "truncated" if "truncated" in str(error) else "damaged, or not an image"
    except Image.DecompressionBombError:
        return "too large"
    except Exception:  # noqa: BLE001 - Pillow's readers raise whatever a damaged file makes of them
        return "damaged"
    return None

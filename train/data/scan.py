"""Looks at every sample before the first epoch: pictures that a camera would not give, texts that can't be read."""

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
from orilla.runtime.preprocessing.image_file import decode_picture, is_heic

CHUNK = 2048

TOLD = 5
"""Bad samples that an error names; the card names all that were skipped."""

COLOUR = ("RGB", "RGBA", "P", "YCbCr")
"""Pillow's names of what becomes three channels of 8 bits as it is."""

EVERYWHERE = ("JPEG", "MPO", "PNG")
"""Pillow's names of formats that OpenCV reads where Pillow does; of others, as TIFF, each has kinds of its own."""

REASONS = {"L": "grey", "LA": "grey", "1": "black and white", "CMYK": "CMYK", "F": "32-bit"}


def scan(dataset: Dataset, *, skip_corrupt: bool) -> dict[Item, str]:
    """Reads every sample once, and names those that can't be used.

    Returns:
        The reason by sample.

    Raises:
        DataError: there are some, and `skip_corrupt` is False.
    """
    look = _Look(dataset)
    items = [(split, index) for split in dataset.splits for index in range(len(dataset.names(split)))]
    console = Console(stderr=True)
    parts = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    reasons: dict[Item, str] = {}
    with ThreadPoolExecutor(available_cores()) as pool:
        for part in track(
            parts, "looking at the data", console=console, transient=True, disable=not console.is_terminal
        ):
            found = pool.map(look, part)  # as many tasks wait in memory as a part has samples
            reasons |= {item: reason for item, reason in zip(part, found, strict=True) if reason}
    others = {item: reason for item, reason in reasons.items() if reason != REASONS["L"]}
    # A data set of grey pictures is one; a grey picture among coloured ones is a mistake.
    if len(reasons) - len(others) > len(items) / 2:
        reasons = others
    if reasons and not skip_corrupt:
        told = [f"{dataset.names(split)[index]} is {reason}" for (split, index), reason in list(reasons.items())[:TOLD]]
        more = f" and {len(reasons) - TOLD} more" if len(reasons) > TOLD else ""
        msg = (
            f"{len(reasons)} of {len(items)} samples can't be used: {', '.join(told)}{more}: "
            "fix them, or add --skip-corrupt"
        )
        raise DataError(msg)
    return reasons


class _Look:
    """The reason why a sample can't be used, or None."""

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
                self._dataset.load(*item)  # its mask too
        except DataError as error:
            return str(error)
        return reason


def _text(data: bytes) -> str | None:
    try:
        return None if data.decode("utf-8-sig").strip() else "empty"
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start})"


def _picture(data: bytes) -> str | None:
    """By Pillow, which reads to the last row, where OpenCV fills what is missing with grey."""
    from PIL import Image

    if not data:
        return "empty"
    if is_heic(data):
        return "HEIC (convert it to JPEG)"
    try:
        with Image.open(io.BytesIO(data)) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format != "MPO":  # a camera's JPEG with a preview behind it is read as a JPEG
                return f"animated ({frames} pictures)"
            if picture.mode.startswith("I") or any(";16" in str(tile[3]) for tile in picture.tile):
                return "16-bit"
            if picture.mode not in COLOUR:
                return REASONS.get(picture.mode, picture.mode)
            eighth = max(1, picture.width // 8), max(1, picture.height // 8)
            picture.draft("RGB", eighth)  # JPEG: so much of the work
            picture.load()
            if picture.format not in EVERYWHERE and decode_picture(data) is None:
                return f"{picture.format} of a kind that is not read"
    except OSError as error:
        return "truncated" if "truncated" in str(error) else "damaged, or no picture"
    except Image.DecompressionBombError:
        return "too large"
    except Exception:  # noqa: BLE001 - Pillow's readers raise whatever a damaged file makes of them
        return "damaged"
    return None

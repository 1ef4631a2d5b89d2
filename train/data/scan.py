"""Check every sample before the first epoch. The check finds damaged files and unsupported kinds of images."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orilla.devices.cores import available_cores
from orilla.devices.errors import DataError
from orilla.devices.progress import NoProgress, Progress
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image_file import decode_image
from orilla.runtime.preprocessing.image_format import unsupported
from orilla.runtime.tasks.registry import task_of

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

BLANK = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"
"""Bytes of white space and byte order marks. A text that contains only these counts as empty."""

CHUNK = 2048
"""Number of samples that are queued for the worker threads at a time."""

MAX_NAMED = 5
"""Maximum number of corrupt samples that an error message lists. The card lists every sample that was skipped."""

COLOUR_MODES = ("RGB", "RGBA", "P", "YCbCr")
"""Pillow's names of the image modes that can be converted to three 8-bit channels without loss."""

COMMON_FORMATS = ("JPEG", "MPO", "PNG")
"""Pillow's names of the image formats that OpenCV can always read. OpenCV reads only some files in other formats, such
as TIFF."""

REASONS = {"L": "grey", "LA": "grey", "1": "black and white", "CMYK": "CMYK", "F": "32-bit"}


def scan(dataset: Dataset, *, skip_corrupt: bool, progress: Progress | None = None) -> dict[Item, str]:
    """Read every sample once and return the corrupt ones.

    Args:
        dataset: The data set to check.
        skip_corrupt: If True, return the corrupt samples. If False, raise an error for them.
        progress: Receives the progress. If None, no progress is reported.

    Returns:
        Each corrupt sample, with the reason why it is corrupt.

    Raises:
        DataError: There are corrupt samples and `skip_corrupt` is False.
    """
    check = _SampleCheck(dataset)
    items = [(split, index) for split in dataset.splits for index in range(len(dataset.names(split)))]
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    title = "checking the data"
    reasons: dict[Item, str] = {}
    with (
        ThreadPoolExecutor(available_cores()) as pool,
        (progress or NoProgress()).steps(title, len(items)) as advance,
    ):
        for chunk in chunks:
            results = pool.map(check, chunk)
            reasons |= {item: reason for item, reason in zip(chunk, results, strict=True) if reason}
            advance(len(chunk), title)
    not_grey = {item: reason for item, reason in reasons.items() if reason != REASONS["L"]}
    # A data set of only grey images is valid, but a grey image among colour images is probably a mistake.
    if len(reasons) - len(not_grey) > len(items) / 2:
        reasons = not_grey
    if reasons and not skip_corrupt:
        raise DataError(_message(dataset, reasons, len(items)))
    return reasons


def _message(dataset: Dataset, reasons: dict[Item, str], count: int) -> str:
    first = list(reasons.items())[:MAX_NAMED]
    named = ", ".join(f"{dataset.names(split)[index]} is {reason}" for (split, index), reason in first)
    more = f" and {len(reasons) - MAX_NAMED} more" if len(reasons) > MAX_NAMED else ""
    return f"{len(reasons)} of {count} samples are corrupt: {named}{more}: fix them, or set skip_corrupt=True"


class _SampleCheck:
    """Callable that returns the reason why a sample is corrupt, or None if it is not."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._has_texts = "text" in task_of(dataset.task).input_kinds

    def __call__(self, item: Item) -> str | None:
        if not self._dataset.is_file(*item):
            return None
        try:
            if self._has_texts:
                if not self._dataset.content(*item).strip(BLANK):
                    return "empty"
                self._dataset.load(*item)
                return None
            reason = _check_image(self._dataset.content(*item))
            if reason is None and not task_of(self._dataset.task).classifies:
                self._dataset.load(*item)  # The mask or the boxes may also be invalid.
        except DataError as error:
            return str(error)
        return reason


def _check_image(data: bytes) -> str | None:
    """Return the reason why an image is corrupt, or None if it is not.

    Pillow reports a truncated image, whereas OpenCV fills its missing rows with grey.
    """
    from PIL import Image

    if not data:
        return "empty"
    if (foreign := unsupported(data)) is not None:
        return "{} ({})".format(*foreign)
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _check_kind(image) or _decode(image, data)
    except OSError as error:
        return "truncated" if "truncated" in str(error) else "damaged or not an image"
    except Image.DecompressionBombError:
        return "too large"
    except Exception:  # noqa: BLE001 - Pillow's readers raise many kinds of errors for damaged files
        return "damaged"


def _check_kind(image: ImageFile) -> str | None:
    """Return the reason why an image is rejected (an animation, or an unsupported mode), or None if it is accepted."""
    frames = getattr(image, "n_frames", 1)  # Not every Pillow image has the attribute `n_frames`.
    if frames > 1 and image.format != "MPO":  # An MPO file is a camera's JPEG with a preview, and is read as a JPEG.
        return f"animated ({frames} images)"
    if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in image.tile):
        return "16-bit"
    return None if image.mode in COLOUR_MODES else REASONS.get(image.mode, image.mode)


def _decode(image: ImageFile, data: bytes) -> str | None:
    """Return the reason why OpenCV cannot decode an image, or None if it can.

    Raises:
        OSError: Pillow cannot decode it.
    """
    image.draft(
        "RGB", (max(1, image.width // 8), max(1, image.height // 8))
    )  # For a JPEG, decoding at an eighth of the size takes an eighth of the time.
    image.load()
    if image.format not in COMMON_FORMATS and decode_image(data) is None:
        return f"{image.format} of an unsupported kind"
    return None

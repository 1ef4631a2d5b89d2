"""Preprocessing of images. Training, calibration, verification and the loop use the same code."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, DataError, unknown_name
from orilla.runtime.preprocessing.image_file import decode_image
from orilla.runtime.preprocessing.input_kind import Comparison, InputPreprocessor, ModelInput, RawInput

JPEG_QUALITY = 92
"""JPEG quality of golden frames. The value is typical of cameras."""

MAX_SIDE = 8192
"""Maximum height and width of a network's input in pixels."""

RESIZE_MEAN = 0.5
"""Maximum mean difference of prepared images in grey levels. The results of bilinear resizing differ by 1 in a quarter
of the values between x86-64 and Arm."""

Image = NDArray[np.uint8]
"""Image, `[H,W,3]` uint8."""

Color = Literal["bgr", "rgb"]


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="image"):
    """Preprocessing outside the network: size and channel order. The network normalises the values 0–255 itself."""

    input_kind: ClassVar = "image"
    needs_vocabulary: ClassVar = False

    size_hw: tuple[int, int]
    """Height and width of the network's input in pixels."""
    color: Color = "rgb"
    """Channel order of the network's input."""
    resize: Literal["stretch"] = "stretch"
    """`stretch` scales height and width independently."""
    interpolation: Literal["halve-linear"] = "halve-linear"
    """`halve-linear` halves the image repeatedly, by averaging blocks of 2x2 pixels, while it has at least twice the
    height and width of the network's input. Then it interpolates linearly."""

    @property
    def size(self) -> tuple[int, ...]:
        """Return height and width of the network's input."""
        return self.size_hw

    def describe(self) -> str:
        """Return the size and the channel order."""
        height, width = self.size_hw
        return f"images of any size, resized to {height}x{width}, {self.color.upper()} 0-255"

    def problem(self) -> str | None:
        """Return what is wrong with the specification, or None."""
        valid = all(1 <= side <= MAX_SIDE for side in self.size_hw)
        return None if valid else f"input size {self.size_hw} is out of range"

    def preprocessor(self, vocabulary: Sequence[str] = ()) -> ImagePreprocessor:
        """Return the preprocessor. `vocabulary` is ignored."""
        del vocabulary
        return ImagePreprocessor(self)


class Preprocessor:
    """Preprocesses images as a `Preprocess` specifies. It reuses scratch memory, so it is not thread-safe."""

    def __init__(self, spec: Preprocess) -> None:
        self.spec = spec
        self._scratch: dict[tuple[int, int], Image] = {}
        self._shape: tuple[int, ...] = ()

    def __call__(self, image: Image, out: Image | None = None, *, color: Color = "bgr") -> Image:
        """Resize and reorder one frame.

        Args:
            image: Image `[H,W,3]` uint8. It is not changed.
            out: Output buffer `[h,w,3]` uint8, C-contiguous. If None, a buffer is allocated.
            color: Channel order of `image`.

        Returns:
            The output buffer, in the channel order of the network.

        Raises:
            DataError: The image has another shape or type, or no pixels.
            ConfigError: The channel order is unknown.
        """
        check_image(image)
        if color not in ("bgr", "rgb"):
            raise unknown_name(color, ("bgr", "rgb"), kind="colour order")
        if image.shape != self._shape:
            self._shape, self._scratch = image.shape, {}
        height, width = self.spec.size_hw
        if out is None:
            out = np.empty((height, width, 3), np.uint8)
        image = self._halve(image, height, width)
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
        if color != self.spec.color:
            cv2.cvtColor(out, cv2.COLOR_BGR2RGB, dst=out)
        return out

    def _halve(self, image: Image, height: int, width: int) -> Image:
        while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
            rows, columns = image.shape[0] // 2, image.shape[1] // 2
            scratch = self._scratch.get((rows, columns))
            if scratch is None:
                scratch = self._scratch[rows, columns] = np.empty((rows, columns, 3), np.uint8)
            # If the number of rows or columns is odd, the last one is left out, so that every mean covers exactly 2x2
            # pixels.
            even = image[: 2 * rows, : 2 * columns]
            image = cv2.resize(even, (columns, rows), dst=scratch, interpolation=cv2.INTER_AREA)
        return image


class _Local(threading.local):
    """The image preprocessor of each thread."""

    preprocessor: Preprocessor | None = None


class ImagePreprocessor(InputPreprocessor):
    """Prepares images. Each thread has its own scratch memory.

    Args:
        spec: Preprocessing of the network.
    """

    kind = "image"
    contents = "images"
    raw_suffix = ".jpg"
    prepared_suffix = ".prepared.png"
    takes_buffers = True

    def __init__(self, spec: Preprocess) -> None:
        self.spec: Preprocess = spec
        self._local = _Local()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `[h,w,3]`."""
        return (*self.spec.size_hw, 3)

    def __call__(self, raw: RawInput, out: Image | None = None, *, color: Color = "bgr") -> Image:
        """Resize and reorder one image. See `Preprocessor.__call__`."""
        if isinstance(raw, str | Mapping):
            got = "a string" if isinstance(raw, str) else "arrays by name"
            msg = f"expected an image as a NumPy array [H,W,3] uint8, got {got}"
            raise DataError(msg)
        if self._local.preprocessor is None:
            self._local.preprocessor = Preprocessor(self.spec)
        return self._local.preprocessor(raw, out, color=color)

    def digest(self, raw: RawInput) -> str:
        """Return the SHA-256 (hex) of the pixels."""
        assert isinstance(raw, np.ndarray)
        return hashlib.sha256(raw.tobytes()).hexdigest()

    def encode_raw(self, raw: RawInput, name: str) -> tuple[bytes, Image]:
        """Return the image as a JPEG, and the image that is decoded from it."""
        ok, jpeg = cv2.imencode(".jpg", raw, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not ok:
            msg = f"cannot encode the golden frame {name} as a JPEG file"
            raise DataError(msg)
        data = jpeg.tobytes()
        return data, self.decode_raw(data, name)

    def decode_raw(self, data: bytes, name: str) -> Image:
        """Decode an image file."""
        image = decode_image(data)
        if image is None:
            msg = f"golden frame {name} cannot be decoded"
            raise BundleError(msg)
        return image

    def encode_prepared(self, prepared: ModelInput) -> bytes:
        """Return the image as a PNG. The channels keep the network's order."""
        data: bytes = cv2.imencode(".png", np.asarray(prepared), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        return data

    def decode_prepared(self, data: bytes, name: str) -> Image:
        """Decode a PNG. The channels keep the network's order."""
        image = self.decode_raw(data, name)
        self.check_shape(image, name)
        return image

    def compare(self, raws: Sequence[RawInput], recorded: Sequence[ModelInput]) -> Comparison:
        """Compare by the mean difference in grey levels."""
        pairs = [
            (np.asarray(self(raw), int), np.asarray(image, int)) for raw, image in zip(raws, recorded, strict=True)
        ]
        levels = max(float(np.abs(image - expected).mean()) for image, expected in pairs)
        return Comparison("resize", levels <= RESIZE_MEAN, f"prepared images differ by {levels:.3f} grey levels")


def prepare(image: Image, spec: Preprocess, *, color: Color = "bgr") -> Image:
    """Preprocess one frame with a new `Preprocessor`. See `Preprocessor.__call__`."""
    return Preprocessor(spec)(image, color=color)


def check_image(image: Image) -> None:
    """Raise `DataError` if `image` is not `[H,W,3]` uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        msg = f"expected an image as a NumPy array [H,W,3] uint8, got {type(image).__name__}"
        raise DataError(msg)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        msg = f"expected an image [H,W,3] uint8, got shape {list(image.shape)} and type {image.dtype}: convert it first"
        raise DataError(msg)
    if image.size == 0:
        msg = f"expected an image with pixels, got shape {list(image.shape)}"
        raise DataError(msg)

"""Preprocessing of images. Training, calibration, verification and the loop use the same code."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, DataError, unknown_name
from orilla.runtime.preprocessing.image_file import decode_image
from orilla.runtime.preprocessing.input_kind import Comparison, InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.placement import (
    Anchor,
    Placement,
    Rounding,
    cropped,
    letterboxed,
    stretched,
    unscaled,
)
from orilla.runtime.preprocessing.resize import Interpolation, Resize, plan_resize

JPEG_QUALITY = 92
"""JPEG quality of golden frames. The value is typical of cameras."""

MAX_SIDE = 8192
"""Maximum height and width of a network's input in pixels."""

RESIZE_MEAN = 0.5
"""Maximum mean difference of prepared images in grey levels. The results of bilinear resizing differ by 1 in a quarter
of the values between x86-64 and Arm."""

MAX_LEVEL = 1e6
"""Maximum absolute value of `mean` and `std`, and of 1 / `std`."""

Image = NDArray[np.uint8]
"""Image, `[H,W,3]` uint8."""

Color = Literal["bgr", "rgb"]
"""Channel order of a frame."""

InputColor = Literal["bgr", "rgb", "grey"]
Grey = Literal["luma", "mean"]
ResizeMode = Literal["stretch", "letterbox", "crop", "none"]


class Preprocess(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind", tag="image"
):
    """Preprocessing outside the network: size, colour and normalisation.

    The result is a uint8 image. When a session fills the engine's tensor, it converts the pixels by `normalise_table`
    and by the tensor's layout and quantisation.
    """

    input_kind: ClassVar[str] = "image"
    needs_vocabulary: ClassVar[bool] = False
    takes_images: ClassVar[bool] = True

    size_hw: tuple[int, int]
    """Height and width of the network's input in pixels."""
    # A default from a factory is always written to the manifest. Other defaults are omitted.
    color: InputColor = msgspec.field(default_factory=lambda: "rgb")
    """Channel order of the network's input, or `grey` for an input with one channel."""
    resize: ResizeMode = msgspec.field(default_factory=lambda: "stretch")
    """Method that resizes a frame to the size of the input. `stretch` scales height and width independently.
    `letterbox` keeps the aspect ratio and fills the border. `crop` keeps the aspect ratio and cuts out the centre.
    `none` accepts only frames of exactly this size."""
    interpolation: Interpolation = msgspec.field(default_factory=lambda: "halve-linear")
    """Interpolation of pixels. See `WHOLE_RULES` and `RULES`."""
    grey: Grey = "luma"
    """Formula of a grey value. `luma` is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). `mean` is (R + G + B) / 3."""
    anchor: Anchor = "center"
    """Position of the frame in a letterbox. See `letterboxed`."""
    rounding: Rounding = "nearest"
    """Rounding of the frame's size in a letterbox to whole pixels. See `letterboxed`."""
    fill: int | tuple[int, int, int] = 0
    """Value 0–255 of the border of a letterbox: one value for all channels, or one for each channel in the network's
    order."""
    crop_fraction: float = 1.0
    """Side length of the crop, as a share of the shorter side of the frame. See `cropped`."""
    mean: tuple[float, ...] = (0.0,)
    """Mean in grey levels 0–255: one value for all channels, or one for each channel in the network's order. The input
    of the network is `(pixel - mean) / std`."""
    std: tuple[float, ...] = (1.0,)
    """Standard deviation in grey levels, given like `mean`. For network inputs 0–1, `mean` is 0 and `std` is 255."""

    def __post_init__(self) -> None:
        # msgspec omits a field only if its value is the default object itself.
        for field in msgspec.structs.fields(self):
            if field.default is not msgspec.NODEFAULT and getattr(self, field.name) == field.default:
                msgspec.structs.force_setattr(self, field.name, field.default)

    @property
    def size(self) -> tuple[int, ...]:
        """Return height and width of the network's input."""
        return self.size_hw

    @property
    def channels(self) -> int:
        """Return the number of channels of the network's input: 3, or 1 for grey."""
        return 1 if self.color == "grey" else 3

    @property
    def is_raw(self) -> bool:
        """Return True if the network's input is the pixel values 0–255, unchanged."""
        return set(self.mean) == {0.0} and set(self.std) == {1.0}

    def normalise_table(self) -> NDArray[np.float32]:
        """Return the network's input value for each pixel value 0–255, `[256,channels]` float32."""
        levels = np.arange(256, dtype=np.float64)[:, np.newaxis]
        table = (levels - np.asarray(self.mean)) / np.asarray(self.std)
        return np.broadcast_to(table, (256, self.channels)).astype(np.float32)

    @property
    def pixel_values(self) -> NDArray[np.float32] | None:
        """Return `normalise_table()`, or None if the network's input is the pixel values 0–255, unchanged."""
        return None if self.is_raw else self.normalise_table()

    def placement(self, frame_hw: tuple[int, int]) -> Placement:
        """Return the placement of a frame of this height and width in the network's input.

        Raises:
            DataError: The frame cannot be used: `resize` is `none` and the size differs, or `resize` is `crop` and the
                sides are too different.
        """
        if self.resize == "letterbox":
            return letterboxed(frame_hw, self.size_hw, self.anchor, self.rounding)
        if self.resize == "crop":
            return cropped(frame_hw, self.size_hw, self.crop_fraction)
        return (unscaled if self.resize == "none" else stretched)(frame_hw, self.size_hw)

    def describe(self) -> str:
        """Describe the size, the colour and the normalisation in one line."""
        height, width = self.size_hw
        if self.resize == "none":
            images = f"images of {height}x{width}"
        else:
            images = f"images of any size, {self._resized()} to {height}x{width}"
        color = self.color.upper() if self.color != "grey" else f"grey ({self.grey})"
        values = "0-255" if self.is_raw else f"(pixel - {_numbers(self.mean)}) / {_numbers(self.std)}"
        return f"{images}, {color} {values}"

    def _resized(self) -> str:
        if self.resize == "letterbox":
            return f"letterboxed ({self.anchor}, fill {_numbers(np.atleast_1d(self.fill))})"
        if self.resize == "crop":
            return "cropped" if self.crop_fraction == 1 else f"cropped ({self.crop_fraction:g} of the shorter side)"
        return "resized"

    def problem(self) -> str | None:
        """Return an error message if the specification is invalid, or None."""
        if not all(1 <= side <= MAX_SIDE for side in self.size_hw):
            return f"input size {self.size_hw} is out of range"
        return self._unused() or self._bad_number()

    def _unused(self) -> str | None:
        """Return an error message if a field has a value but no effect, or None."""
        needs = {
            "grey": ("color", "grey"),
            "anchor": ("resize", "letterbox"),
            "rounding": ("resize", "letterbox"),
            "fill": ("resize", "letterbox"),
            "crop_fraction": ("resize", "crop"),
        }
        for field in msgspec.structs.fields(self):
            name, value = needs.get(field.name, ("", ""))
            if name and getattr(self, field.name) is not field.default and getattr(self, name) != value:
                return f"`{field.name}` has no effect unless `{name}` is {value}: leave it out"
        return None

    def _bad_number(self) -> str | None:
        """Return an error message if a number is out of range, or None."""
        fill = self.fill if isinstance(self.fill, tuple) else (self.fill,)
        if not all(0 <= value <= 255 for value in fill) or len(fill) not in (1, self.channels):
            return f"`fill` is {self.fill}: expected a value 0-255, or one value for each of {self.channels} channels"
        if not 0 < self.crop_fraction <= 1 or max(self.size_hw) / self.crop_fraction > MAX_SIDE:
            return f"`crop_fraction` is {self.crop_fraction:g}: expected a number above 0 and at most 1"
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                return f"`{name}` has {len(values)} values: expected 1 or {self.channels}"
            if not all(math.isfinite(value) and abs(value) <= MAX_LEVEL for value in values):
                expected = f"expected finite numbers with an absolute value of at most {MAX_LEVEL:.0f}"
                return f"`{name}` is {_numbers(values)}: {expected}"
        if not all(value >= 1 / MAX_LEVEL for value in self.std):
            return f"`std` is {_numbers(self.std)}: expected numbers above 0"
        return None

    def preprocessor(self, vocabulary: Sequence[str] = ()) -> ImagePreprocessor:
        """Return the preprocessor. `vocabulary` is ignored."""
        del vocabulary
        return ImagePreprocessor(self)


class Preprocessor:
    """Preprocesses images as a `Preprocess` specifies. It reuses scratch memory, so it is not thread-safe."""

    def __init__(self, spec: Preprocess) -> None:
        self.spec = spec
        self._shape: tuple[int, ...] = ()
        self._resize: Resize
        self._visible: tuple[slice, slice] | None = None

    def __call__(self, image: Image, out: Image | None = None, *, color: Color = "bgr") -> Image:
        """Resize and reorder one frame.

        Args:
            image: Image `[H,W,3]` uint8. It is not changed.
            out: Output buffer `[h,w,c]` uint8, C-contiguous. If None, a buffer is allocated.
            color: Channel order of `image`.

        Returns:
            The output buffer, in the channel order of the network.

        Raises:
            DataError: The image has a wrong shape or type, or no pixels, or the specification does not allow its size.
            ConfigError: The channel order is unknown.
        """
        check_image(image)
        if color not in ("bgr", "rgb"):
            raise unknown_name(color, ("bgr", "rgb"), kind="colour order")
        if image.shape != self._shape:
            self._adapt(image)
        if out is None:
            out = np.empty((*self.spec.size_hw, self.spec.channels), np.uint8)
        visible = out if self._visible is None else self._bordered(out, self._visible)
        if self.spec.color == "grey":
            self._resize(to_grey(image, color, self.spec.grey), visible[:, :, 0])
            return out
        self._resize(image, visible)
        if color != self.spec.color:
            cv2.cvtColor(visible, cv2.COLOR_BGR2RGB, dst=visible)
        return out

    def _adapt(self, image: Image) -> None:
        """Prepare for frames with a new shape."""
        placement = self.spec.placement((image.shape[0], image.shape[1]))
        self._visible = None
        if not placement.fills_input:
            left, top, right, bottom = placement.visible_input_xyxy
            self._visible = slice(top, bottom), slice(left, right)
        self._resize = plan_resize(self.spec.interpolation, placement, () if self.spec.color == "grey" else (3,))
        self._shape = image.shape

    def _bordered(self, out: Image, visible: tuple[slice, slice]) -> Image:
        """Fill the border of a letterbox. Return a view of the part inside."""
        rows, columns = visible
        for border in (out[: rows.start], out[rows.stop :], out[rows, : columns.start], out[rows, columns.stop :]):
            border[:] = self.spec.fill
        return out[visible]


class _Local(threading.local):
    """The image preprocessor of each thread."""

    preprocessor: Preprocessor | None = None


class ImagePreprocessor(InputPreprocessor):
    """Prepares images for a network. Each thread has its own scratch memory.

    Args:
        spec: Preprocessing of the network.
    """

    kind = "image"
    contents = "images"
    raw_suffix = ".jpg"
    prepared_suffix = ".prepared.png"
    takes_buffers = True
    min_deviation = 1.0

    def __init__(self, spec: Preprocess) -> None:
        self.spec: Preprocess = spec
        self._local = _Local()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `[h,w,c]`. `c` is 3, or 1 for grey."""
        return (*self.spec.size_hw, self.spec.channels)

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
        """Return the image as a PNG, grey if there is one channel. The channels keep the network's order."""
        data: bytes = cv2.imencode(".png", np.asarray(prepared), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        return data

    def decode_prepared(self, data: bytes, name: str) -> Image:
        """Decode a PNG. The channels keep the network's order."""
        image = decode_image(data, cv2.IMREAD_COLOR if self.spec.channels == 3 else cv2.IMREAD_GRAYSCALE)
        if image is None:
            msg = f"golden frame {name} cannot be decoded"
            raise BundleError(msg)
        image = image.reshape(*image.shape[:2], self.spec.channels)
        self.check_shape(image, name)
        return image

    def compare(self, raws: Sequence[RawInput], recorded: Sequence[ModelInput]) -> Comparison:
        """Prepare the images, and compare them with the recorded ones by the mean difference in grey levels."""
        pairs = [
            (np.asarray(self(raw), int), np.asarray(image, int)) for raw, image in zip(raws, recorded, strict=True)
        ]
        levels = max(float(np.abs(image - expected).mean()) for image, expected in pairs)
        return Comparison("resize", levels <= RESIZE_MEAN, f"prepared images differ by {levels:.3f} grey levels")


def to_grey(image: Image, color: Color, grey: Grey) -> Image:
    """Return the grey values of an image `[H,W,3]` uint8 as `[H,W]` uint8.

    Args:
        image: The image. It is not changed.
        color: Channel order of `image`.
        grey: `luma` or `mean`, as in `Preprocess`.
    """
    if grey == "mean":
        mean: Image = cv2.transform(image, np.full((1, 3), 1 / 3, np.float32))
        return mean
    luma: Image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if color == "bgr" else cv2.COLOR_RGB2GRAY)
    return luma


def _numbers(values: Iterable[float]) -> str:
    """Return numbers as text, separated by commas."""
    return ",".join(f"{value:g}" for value in values)


def prepare(image: Image, spec: Preprocess, *, color: Color = "bgr") -> Image:
    """Preprocess one frame with a new `Preprocessor`. See `Preprocessor.__call__`."""
    return Preprocessor(spec)(image, color=color)


def check_image(image: Image) -> None:
    """Raise `DataError` if `image` is not `[H,W,3]` uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        msg = f"expected an image as a NumPy array [H,W,3] uint8, got {type(image).__name__}"
        raise DataError(msg)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        scale = ", and multiply values of 0..1 by 255" if image.dtype.kind == "f" else ""
        got = f"got shape {list(image.shape)} and type {image.dtype}"
        msg = f"expected an image [H,W,3] uint8, {got}: convert it first{scale}"
        raise DataError(msg)
    if image.size == 0:
        msg = f"expected an image with pixels, got shape {list(image.shape)}"
        raise DataError(msg)

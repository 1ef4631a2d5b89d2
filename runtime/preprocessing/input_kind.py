"""The interface of a kind of input: image, text or arrays. Each kind has its own file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError

ModelInput = NDArray[np.uint8] | NDArray[np.int32] | Mapping[str, NDArray[np.generic]]
"""Input of a network, without the batch axis: an image, tokens, or several arrays by name."""

RawInput = NDArray[np.uint8] | str | Mapping[str, NDArray[np.generic]]
"""Raw input: an image `[H,W,3]` uint8 BGR, a string, or arrays by name."""

Kind = Literal["image", "text", "tensor"]


def frame_size(raw: RawInput) -> tuple[int, int] | None:
    """Return height and width of an image in pixels, or None for another kind of raw input."""
    return (raw.shape[0], raw.shape[1]) if isinstance(raw, np.ndarray) and raw.ndim == 3 else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of prepared samples with those that were recorded at export."""

    stage: str
    """Name of the stage for reports, such as `resize`."""
    passed: bool
    detail: str
    """The result in one line."""


class InputPreprocessor(ABC):
    """Prepares the raw inputs of one model. It is thread-safe."""

    kind: ClassVar[Kind]
    contents: ClassVar[str]
    """Plural noun that messages use for the samples of this kind, such as `images`."""
    raw_suffix: ClassVar[str]
    """Suffix of the file that stores a raw golden sample."""
    prepared_suffix: ClassVar[str]
    """Suffix of the file that stores a prepared golden sample. If both suffixes are equal, there is only one file."""
    min_deviation: ClassVar[float | None] = None
    """Minimum standard deviation of the values of a calibration sample. None if the values are not compared."""
    has_ranges: ClassVar[bool] = False
    """True if the samples have no fixed value range. Calibration data may then have a wrong range."""
    takes_buffers: ClassVar[bool] = False
    """True if the result can be written into a buffer that the caller supplies."""
    spec: Any
    """Specification of the preprocessing, as bundles store it."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the arrays that the network takes. The result is empty if it takes no arrays by name."""
        return ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a prepared sample as a bundle stores it."""

    @abstractmethod
    def __call__(
        self, raw: RawInput, out: NDArray[np.uint8] | None = None, *, color: Literal["bgr", "rgb"] = "bgr"
    ) -> ModelInput:
        """Prepare one raw input.

        Args:
            raw: The raw input.
            out: Buffer for the result, if `takes_buffers` is True. If None, memory is allocated.
            color: Channel order of an image.

        Raises:
            DataError: The input has a wrong kind, shape or type.
        """

    @abstractmethod
    def digest(self, raw: RawInput) -> str:
        """Return the SHA-256 (hex) of a decoded raw input."""

    @abstractmethod
    def encode_raw(self, raw: RawInput, name: str) -> tuple[bytes, RawInput]:
        """Return the file that stores a raw input, and the raw input that is decoded from this file.

        Raises:
            DataError: The input cannot be encoded. The message contains `name`.
        """

    @abstractmethod
    def decode_raw(self, data: bytes, name: str) -> RawInput:
        """Decode a file that `encode_raw` returned. Raise `BundleError` if this is impossible."""

    @abstractmethod
    def encode_prepared(self, prepared: ModelInput) -> bytes:
        """Return the file that stores a prepared sample."""

    @abstractmethod
    def decode_prepared(self, data: bytes, name: str) -> ModelInput:
        """Decode a file that `encode_prepared` returned.

        Raises:
            BundleError: The file is damaged, or the sample does not have `shape`.
        """

    @abstractmethod
    def compare(self, raws: Sequence[RawInput], recorded: Sequence[ModelInput]) -> Comparison:
        """Prepare raw samples, and compare the results with the recorded ones."""

    def check_shape(self, prepared: NDArray[Any], name: str) -> None:
        """Raise `BundleError` if a stored sample does not have `shape`."""
        if prepared.shape != self.shape:
            msg = f"{name} has shape {list(prepared.shape)}, but the network's input has shape {list(self.shape)}"
            raise BundleError(msg)

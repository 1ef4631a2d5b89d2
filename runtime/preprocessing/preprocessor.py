"""Convert raw samples into the input of a network, as a bundle or run folder specifies."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Literal

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing.image import Color, Image, Preprocess, Preprocessor
from orilla.runtime.preprocessing.tensor import Arrays, TensorPreprocess
from orilla.runtime.preprocessing.text import TextPreprocess, Tokeniser, Tokens

ModelInput = Image | Tokens | Arrays
"""Input of a network, without the batch axis: one array, or several arrays by name."""

RawInput = Image | str | Arrays
"""Raw input: an image `[H,W,3]` uint8 BGR, a string, or arrays by name."""

Spec = Preprocess | TextPreprocess | TensorPreprocess
"""The preprocessing that happens outside the network. There is one class for each kind of input."""


class _Local(threading.local):
    """The image preprocessor of each thread."""

    preprocessor: Preprocessor | None = None


class InputPreprocessor:
    """Prepares raw inputs. It is thread-safe, because each thread has its own scratch memory.

    Args:
        spec: Preprocessing of the network.
        vocabulary: Words of a text model.
    """

    def __init__(self, spec: Spec, vocabulary: Sequence[str] = ()) -> None:
        self.spec = spec
        self._tokenise = Tokeniser(spec, vocabulary) if isinstance(spec, TextPreprocess) else None
        self._local = _Local()

    @property
    def is_text(self) -> bool:
        """Return True if the network takes text."""
        return self._tokenise is not None

    @property
    def kind(self) -> Literal["image", "text", "tensor"]:
        """Return the kind of the raw input."""
        if isinstance(self.spec, TensorPreprocess):
            return "tensor"
        return "text" if self.is_text else "image"

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the output. For arrays, it is the shape that `TensorPreprocess.pack` returns."""
        if isinstance(self.spec, TensorPreprocess):
            return (sum(spec.size for spec in self.spec.inputs),)
        return (self.spec.length,) if isinstance(self.spec, TextPreprocess) else (*self.spec.size_hw, 3)

    def __call__(self, raw: RawInput, out: Image | None = None, *, color: Color = "bgr") -> ModelInput:
        """Prepare one raw input. If `out` is given, a prepared image is written into it.

        Raises:
            DataError: The input has a wrong kind, shape or type.
        """
        if isinstance(self.spec, TensorPreprocess):
            if isinstance(raw, str):
                msg = "expected arrays by name, got a string"
                raise DataError(msg)
            return self.spec.check(raw)
        if self._tokenise is not None:
            return self._tokenise(raw)  # type: ignore[arg-type]
        if isinstance(raw, str | Mapping):
            got = "a string" if isinstance(raw, str) else "arrays by name"
            msg = f"expected an image as a NumPy array [H,W,3] uint8, got {got}"
            raise DataError(msg)
        assert isinstance(self.spec, Preprocess)
        if self._local.preprocessor is None:
            self._local.preprocessor = Preprocessor(self.spec)
        return self._local.preprocessor(raw, out, color=color)

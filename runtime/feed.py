"""From a sample, a picture or a text to a network's input, as a bundle or a run folder states it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from orilla.devices.errors import DataError
from orilla.runtime.datasets import ClassifiedText, Sample
from orilla.runtime.preprocess import Color, Image, Preprocess, Preprocessor
from orilla.runtime.session import Prepared
from orilla.runtime.text import TextPreprocess, Tokeniser

Raw = Image | str
"""What a camera or a keyboard gives: `[H,W,3]` uint8 BGR, or a text."""


class Feed:
    """Prepares raw inputs; safe from several threads, each of which has scratch memory of its own."""

    def __init__(self, spec: Preprocess | TextPreprocess, vocabulary: Sequence[str] = ()) -> None:
        self.spec = spec
        self._tokenise = Tokeniser(spec, vocabulary) if isinstance(spec, TextPreprocess) else None
        self._local = threading.local()

    @property
    def is_text(self) -> bool:
        return self._tokenise is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what comes out."""
        return (self.spec.length,) if isinstance(self.spec, TextPreprocess) else (*self.spec.size_hw, 3)

    def __call__(self, raw: Raw, out: Image | None = None, *, color: Color = "bgr") -> Prepared:
        """Prepares one raw input, a picture into `out` where it is given.

        Raises:
            DataError: a picture where a text is expected, or the other way round; or one of another shape or type.
        """
        if self._tokenise is not None:
            return self._tokenise(raw)  # type: ignore[arg-type]
        if isinstance(raw, str):
            raise DataError("expected a picture as a NumPy array [H,W,3] uint8, got a text")
        preprocessor = getattr(self._local, "preprocessor", None)
        if preprocessor is None:
            preprocessor = self._local.preprocessor = Preprocessor(self.spec)  # type: ignore[arg-type]
        prepared: Image = preprocessor(raw, out, color=color)
        return prepared

    def sample(self, sample: Sample) -> Prepared:
        """Prepares the input of a sample."""
        return self(raw_of(sample))


def raw_of(sample: Sample) -> Raw:
    """A sample's input."""
    return sample.text if isinstance(sample, ClassifiedText) else sample.image

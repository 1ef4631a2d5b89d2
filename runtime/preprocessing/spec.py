"""The specifications of all kinds of input. Bundles and run folders store one of them."""

from __future__ import annotations

from collections.abc import Mapping

from orilla.runtime.preprocessing.image import ImagePreprocessor, Preprocess
from orilla.runtime.preprocessing.input_kind import InputPreprocessor, RawInput
from orilla.runtime.preprocessing.tensor import ArrayPreprocessor, TensorPreprocess
from orilla.runtime.preprocessing.text import TextPreprocess, TextPreprocessor

Spec = Preprocess | TextPreprocess | TensorPreprocess
"""The preprocessing that happens outside the network. `Spec.preprocessor()` returns the object that performs it."""


def kind_of(raw: RawInput) -> str:
    """Return the kind of a raw input: `text` for a string, `tensor` for arrays by name, `image` for an array."""
    if isinstance(raw, str):
        return TextPreprocessor.kind
    return ArrayPreprocessor.kind if isinstance(raw, Mapping) else ImagePreprocessor.kind


KINDS: dict[str, type[InputPreprocessor]] = {
    kind.kind: kind for kind in (ImagePreprocessor, TextPreprocessor, ArrayPreprocessor)
}
"""Preprocessor class of each kind of input."""

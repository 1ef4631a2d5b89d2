"""The specifications of all kinds of input. Bundles and run folders store one of them."""

from __future__ import annotations

from orilla.runtime.preprocessing.image import ImagePreprocessor, Preprocess
from orilla.runtime.preprocessing.input_kind import InputPreprocessor
from orilla.runtime.preprocessing.tensor import ArrayPreprocessor, TensorPreprocess
from orilla.runtime.preprocessing.text import TextPreprocess, TextPreprocessor

Spec = Preprocess | TextPreprocess | TensorPreprocess
"""The preprocessing that happens outside the network. `Spec.preprocessor()` returns the object that does it."""

KINDS: dict[str, type[InputPreprocessor]] = {
    kind.kind: kind for kind in (ImagePreprocessor, TextPreprocessor, ArrayPreprocessor)
}
"""Preprocessor class of each kind of input."""

"""The one way from a text to a network's input; training, calibration, verification and the robot all call it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, DataError

PADDING, START, UNKNOWN, FIRST = 0, 1, 2, 3
"""Numbers of what is no word, and of the most frequent word. Source: `keras.datasets.imdb.load_data`."""

SEPARATORS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r'
"""What stands between words besides blanks; the apostrophe belongs to its word. Source: Keras' `Tokenizer`."""

Tokens = NDArray[np.int32]


class TextPreprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="text"):
    """How a text becomes numbers: lower case, cut at `SEPARATORS` and blanks, looked up in the vocabulary."""

    length: int
    """Tokens of the network's input."""
    padding: Literal["pre", "post"] = "pre"
    """Where a short text is filled with `PADDING`."""
    truncation: Literal["pre", "post"] = "pre"
    """Where a long text is cut off: `pre` keeps its end."""


class Tokeniser:
    """Turns texts into `[length]` int32; safe from several threads."""

    def __init__(self, spec: TextPreprocess, vocabulary: Sequence[str]) -> None:
        self.spec = spec
        self.vocabulary = tuple(vocabulary)
        self._numbers = {word: number for number, word in enumerate(self.vocabulary, FIRST)}

    @property
    def size(self) -> int:
        """How many different numbers there are: the rows of an embedding."""
        return FIRST + len(self.vocabulary)

    def __call__(self, text: str) -> Tokens:
        """Raises `DataError` for what is not a text."""
        if not isinstance(text, str):
            msg = f"expected a text, got {type(text).__name__}"
            raise DataError(msg)
        length = self.spec.length
        numbers = [START, *(self._numbers.get(word, UNKNOWN) for word in words(text))]
        numbers = numbers[-length:] if self.spec.truncation == "pre" else numbers[:length]
        tokens = np.full(length, PADDING, np.int32)
        tokens[length - len(numbers) if self.spec.padding == "pre" else 0 :][: len(numbers)] = numbers
        return tokens


_TABLE = str.maketrans(SEPARATORS, " " * len(SEPARATORS))


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return text.lower().translate(_TABLE).split()


def learn_vocabulary(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """The most frequent words, most frequent first, so many that `Tokeniser.size` is `size` at most."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text))
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(word for word, _ in ranked[: size - FIRST])


def encode_vocabulary(vocabulary: Sequence[str]) -> bytes:
    """A vocabulary file: UTF-8, one word a line, the most frequent first."""
    return ("\n".join(vocabulary) + "\n").encode()


def decode_vocabulary(data: bytes) -> tuple[str, ...]:
    """Reads a vocabulary file.

    Raises:
        BundleError: not UTF-8, a word twice, or none.
    """
    try:
        vocabulary = tuple(data.decode().removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        msg = f"the vocabulary is not UTF-8 (byte {error.start})"
        raise BundleError(msg) from error
    if not all(vocabulary) or len(set(vocabulary)) < len(vocabulary):
        msg = "the vocabulary has an empty or a repeated line"
        raise BundleError(msg)
    return vocabulary

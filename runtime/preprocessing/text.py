"""Preprocessing of texts. Training, calibration, verification and the loop use the same code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, DataError

PADDING, START, UNKNOWN, FIRST_WORD = 0, 1, 2, 3
"""Numbers of the three special tokens, and number of the most frequent word. Source:
`keras.datasets.imdb.load_data`."""

SEPARATORS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r'
"""Characters that separate words, in addition to spaces. An apostrophe is part of a word. Source: Keras'
`Tokenizer`."""

Tokens = NDArray[np.int32]
"""Tokens: the numbers of the words in one text, `[length]`."""


class TextPreprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="text"):
    """Conversion of a text into tokens.

    The text is converted to lower case and split into words, and each word is replaced with its number.
    """

    length: int
    """Number of tokens in the network's input."""
    padding: Literal["pre", "post"] = "pre"
    """Where a short text is filled with `PADDING`: `pre` at its start, `post` at its end."""
    truncation: Literal["pre", "post"] = "pre"
    """Where a long text is cut off: `pre` at its start, `post` at its end."""


class Tokeniser:
    """Converts texts into tokens. It is thread-safe."""

    def __init__(self, spec: TextPreprocess, vocabulary: Sequence[str]) -> None:
        self.spec = spec
        self.vocabulary = tuple(vocabulary)
        self._numbers = {word: number for number, word in enumerate(self.vocabulary, FIRST_WORD)}

    @property
    def size(self) -> int:
        """Return the number of different tokens, which is the number of rows of an embedding."""
        return FIRST_WORD + len(self.vocabulary)

    def __call__(self, text: str) -> Tokens:
        """Convert a text. Raise `DataError` if it is not a string."""
        if not isinstance(text, str):
            msg = f"expected a string, got {type(text).__name__}"
            raise DataError(msg)
        length = self.spec.length
        numbers = [START, *(self._numbers.get(word, UNKNOWN) for word in words(text))]
        numbers = numbers[-length:] if self.spec.truncation == "pre" else numbers[:length]
        tokens = np.full(length, PADDING, np.int32)
        tokens[length - len(numbers) if self.spec.padding == "pre" else 0 :][: len(numbers)] = numbers
        return tokens


_TABLE = str.maketrans(SEPARATORS, " " * len(SEPARATORS))


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return text.lower().translate(_TABLE).split()


def learn_vocabulary(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """Return the most frequent words, the most frequent first.

    Their number is limited so that `Tokeniser.size` is at most `size`.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text))
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(word for word, _ in ranked[: size - FIRST_WORD])


def encode_vocabulary(vocabulary: Sequence[str]) -> bytes:
    """Return the content of a vocabulary file: UTF-8 with one word per line, the most frequent first."""
    return ("\n".join(vocabulary) + "\n").encode()


def decode_vocabulary(data: bytes) -> tuple[str, ...]:
    """Return the words of a vocabulary file.

    Raises:
        BundleError: The file is not UTF-8, is empty, or contains an empty line or a word twice.
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

"""Preprocessing of texts. Training, calibration, verification and the loop use the same code."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, DataError
from orilla.runtime.preprocessing.input_kind import Comparison, InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.npy import decode_npy, encode_npy

MAX_LENGTH = 8192
"""Maximum number of tokens in a network's input."""

MAX_FIRST_WORD, MAX_CHARACTERS = 1024, 4096
"""Maximum of `first_word`, and maximum number of characters in `separators`, `removed` and `white_space`."""

PADDING, START, UNKNOWN, FIRST_WORD = 0, 1, 2, 3
"""The three special tokens, and the token of the most frequent word. Source: `keras.datasets.imdb.load_data`."""

SEPARATORS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r'
"""Characters that separate words, in addition to spaces. An apostrophe is part of a word. Source: Keras'
`Tokenizer`."""

Tokens = NDArray[np.int32]
"""The tokens of one text, `[length]`: integers that represent words."""


class TextPreprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="text"):
    """Conversion of a text into tokens.

    The text is converted to lower case and split into words, and each word is replaced with its token.
    """

    input_kind: ClassVar[str] = "text"
    needs_vocabulary: ClassVar[bool] = True
    takes_images: ClassVar[bool] = False
    pixel_values: ClassVar[None] = None

    length: int
    """Number of tokens in the network's input."""
    padding: Literal["pre", "post"] = "pre"
    """Side on which a short text is padded with `PADDING`: `pre` is its start, `post` its end."""
    truncation: Literal["pre", "post"] = "pre"
    """Side on which a long text is truncated: `pre` is its start, `post` its end."""
    start: int | None = START
    """Token that is put in front of each text. If None, no token is added."""
    unknown: int | None = UNKNOWN
    """Token of a word that is not in the vocabulary. If None, such words are omitted."""
    first_word: int = FIRST_WORD
    """Token of the first word of the vocabulary. The other words follow."""
    lower: Literal["all", "ascii", "none"] = "all"
    """Letters that are converted to lower case: all, or only A to Z."""
    separators: str = SEPARATORS
    """Characters that separate words, in addition to white space."""
    removed: str = ""
    """Characters that are removed, so that the parts of a word are joined."""
    white_space: str = ""
    """Characters that separate words. If it is empty, any Unicode white space separates words."""

    @property
    def size(self) -> tuple[int, ...]:
        """Return the number of tokens."""
        return (self.length,)

    def describe(self) -> str:
        """Return the number of tokens."""
        return f"texts, as {self.length} tokens"

    def problem(self) -> str | None:
        """Return an error message if the specification is invalid, or None."""
        if not 1 <= self.length <= MAX_LENGTH:
            return f"input size {(self.length,)} is out of range"
        if not 1 <= self.first_word <= MAX_FIRST_WORD:
            return f"first_word={self.first_word} is out of range"
        for name, token in (("start", self.start), ("unknown", self.unknown)):
            if token is not None and not 0 <= token < self.first_word:
                return f"{name}={token} is not below first_word={self.first_word}"
        if max(map(len, (self.separators, self.removed, self.white_space))) > MAX_CHARACTERS:
            return "separators, removed or white_space has too many characters"
        return None

    def preprocessor(self, vocabulary: Sequence[str] = ()) -> TextPreprocessor:
        """Return the preprocessor with the words of the model."""
        return TextPreprocessor(self, vocabulary)


class Tokeniser:
    """Converts texts into tokens. It is thread-safe."""

    def __init__(self, spec: TextPreprocess, vocabulary: Sequence[str]) -> None:
        self.spec = spec
        self.vocabulary = tuple(vocabulary)
        self._numbers = {word: number for number, word in enumerate(self.vocabulary, spec.first_word)}
        if spec.unknown is None:
            self._unknown: tuple[int, ...] = ()
        else:
            self._unknown = (spec.unknown,)
        self._split = WordSplitter(spec)

    @property
    def size(self) -> int:
        """Return the number of different tokens, which is the number of rows of an embedding."""
        return self.spec.first_word + len(self.vocabulary)

    def __call__(self, text: str) -> Tokens:
        """Convert a text. Raise `DataError` if it is not a string."""
        if not isinstance(text, str):
            msg = f"expected a string, got {type(text).__name__}"
            raise DataError(msg)
        length = self.spec.length
        numbers = [] if self.spec.start is None else [self.spec.start]
        for word in self._split(text):
            number = self._numbers.get(word)
            numbers.extend(self._unknown if number is None else (number,))
        numbers = numbers[-length:] if self.spec.truncation == "pre" else numbers[:length]
        tokens = np.full(length, PADDING, np.int32)
        tokens[length - len(numbers) if self.spec.padding == "pre" else 0 :][: len(numbers)] = numbers
        return tokens


class TextPreprocessor(InputPreprocessor):
    """Prepares texts.

    Args:
        spec: Preprocessing of the network.
        vocabulary: Words of the model in descending order of frequency.
    """

    kind = "text"
    contents = "texts"
    raw_suffix = ".txt"
    prepared_suffix = ".tokens.npy"

    def __init__(self, spec: TextPreprocess, vocabulary: Sequence[str]) -> None:
        self.spec: TextPreprocess = spec
        self._tokenise = Tokeniser(spec, vocabulary)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of tokens."""
        return (self.spec.length,)

    def __call__(
        self, raw: RawInput, out: NDArray[np.uint8] | None = None, *, color: Literal["bgr", "rgb"] = "bgr"
    ) -> Tokens:
        """Convert a text into tokens. Raise `DataError` if it is not a string."""
        del out, color
        return self._tokenise(raw)  # type: ignore[arg-type]

    def digest(self, raw: RawInput) -> str:
        """Return the SHA-256 (hex) of the text in UTF-8."""
        assert isinstance(raw, str)
        return hashlib.sha256(raw.encode()).hexdigest()

    def encode_raw(self, raw: RawInput, name: str) -> tuple[bytes, str]:
        """Return the UTF-8 bytes of the text, and the text itself."""
        del name
        assert isinstance(raw, str)
        return raw.encode(), raw

    def decode_raw(self, data: bytes, name: str) -> str:
        """Decode UTF-8.

        Invalid bytes are replaced instead of raising an error. The text's SHA-256 then differs from the recorded one.
        """
        del name
        return data.decode(errors="replace")

    def encode_prepared(self, prepared: ModelInput) -> bytes:
        """Return the tokens as a `.npy` file."""
        return encode_npy(np.asarray(prepared))

    def decode_prepared(self, data: bytes, name: str) -> Tokens:
        """Decode tokens."""
        tokens = decode_npy(data, name, (np.int32,)).astype(np.int32, copy=False)
        self.check_shape(tokens, name)
        return tokens

    def compare(self, raws: Sequence[RawInput], recorded: Sequence[ModelInput]) -> Comparison:
        """Convert the texts again, and count those whose tokens equal the recorded ones."""
        same = sum(np.array_equal(self(raw), np.asarray(tokens)) for raw, tokens in zip(raws, recorded, strict=True))
        return Comparison("tokenise", same == len(raws), f"{same} of {len(raws)} golden texts give the same tokens")


class WordSplitter:
    """Converts texts into words by the rules of a specification."""

    def __init__(self, spec: TextPreprocess) -> None:
        self._lower, self._any_space = spec.lower, not spec.white_space
        self._table = {
            **dict.fromkeys(map(ord, spec.removed)),
            **dict.fromkeys(map(ord, spec.separators + spec.white_space), " "),
        }

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text."""
        if self._lower == "all":
            text = text.lower()
        elif self._lower == "ascii":
            text = text.translate(_ASCII_LOWER)
        text = text.translate(self._table)
        return text.split() if self._any_space else [word for word in text.split(" ") if word]


_ASCII_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)

words = WordSplitter(TextPreprocess(length=1))
"""Function that returns the words of a text by Orilla's own rules, in lower case."""


def learn_vocabulary(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """Return the most frequent words in descending order of frequency.

    The number of words is limited so that `Tokeniser.size` is at most `size`.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text))
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(word for word, _ in ranked[: size - FIRST_WORD])


def encode_vocabulary(vocabulary: Sequence[str]) -> bytes:
    """Return the content of a vocabulary file: UTF-8 with one word per line, in descending order of frequency."""
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

"""Read the vocabulary of a text model, and determine the token of each word.

Keras and its data sets number words in several ways. A wrong numbering causes no error, but reduces the accuracy to
chance level. This module therefore recognises the formats of vocabularies, compares them with the model's embedding,
and asks the user if the numbering is not certain.

Sources: `keras.datasets.imdb.load_data` (`index_from=3`: the most frequent word is token 4), `keras.preprocessing.text
.Tokenizer` of Keras 2, and `keras.layers.TextVectorization`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import punctuation
from typing import Any

import msgspec

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.text_files import lines_of, read_text
from orilla.export.labels import ENCODING_ADVICE
from orilla.export.model_hints import ModelHints
from orilla.runtime.preprocessing.text import FIRST_WORD, PADDING, TextPreprocess, WordSplitter

PAD_TOKENS = ("", "[PAD]", "<pad>", "<PAD>")
UNKNOWN_TOKENS = ("[UNK]", "<unk>", "<UNK>", "<oov>", "<OOV>", "[OOV]", "UNK", "<unknown>")
START_TOKENS = ("<start>", "<START>", "[START]", "<s>", "<bos>", "<BOS>", "<sos>", "<SOS>")
UNUSED_TOKENS = ("<unused>", "<UNUSED>", "[unused]")
SPECIAL_TOKENS = (*PAD_TOKENS, *UNKNOWN_TOKENS, *START_TOKENS, *UNUSED_TOKENS, "[CLS]", "[SEP]", "[MASK]")
"""Names of tokens that are not words."""

CHECKED_LINES = 8
"""Number of words at the start of a vocabulary that are searched for special tokens."""

IMDB_WORDS, IMDB_FIRST = 88584, ("the", "and", "a", "of", "to")
"""Number of words in `keras.datasets.imdb.get_word_index()`, and its most frequent words."""

IMDB_START = 4
"""Token of the most frequent word in `keras.datasets.imdb.load_data`: its rank 1 plus `index_from`, which is 3."""

WHITE_SPACE = " \t\n\r\x0b\x0c"
"""Characters at which TensorFlow splits strings into words."""

STARTS = (1, 2, 3, IMDB_START)
"""Usual tokens of the first word: Keras' `Tokenizer`, `TextVectorization`, `orilla train`, and Keras' IMDB."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of a model, and how texts become tokens."""

    words: tuple[str, ...]
    """Words in the order of their tokens."""
    spec: TextPreprocess
    notes: tuple[str, ...] = ()
    """Conclusions from the file or the model, and possible problems with them, one line each."""
    may_be_longer: bool = False
    """True if the file may contain more words than the model has tokens. Excess words are then dropped."""


def read_vocabulary(hints: ModelHints, length: int, rows: int | None) -> Vocabulary:
    """Read the vocabulary file of a text model.

    Args:
        hints: Facts that the user states, with the path of the file.
        length: Number of tokens in the model's input.
        rows: Number of tokens that the model's embedding has, or None if the model has no embedding.

    Raises:
        ConfigError: The numbering of the words is unknown, or the words do not fit the embedding.
        DataError: The file cannot be read, or is not a vocabulary of words.
    """
    path = hints.vocabulary
    assert path is not None
    text = read_text(path, encoding=hints.encoding, advice=ENCODING_ADVICE)
    _refuse_other_kinds(text, path)
    file = _File(path, TextPreprocess(length=length), rows, hints.vocabulary_start)
    if text.lstrip()[:1] in ("{", "[", '"') and isinstance(document := _json(text), list | Mapping):
        found = file.of_document(document)
    else:
        lines = lines_of(text, " \t")  # Keras' index of IMDB contains U+0085, which is white space, as a word.
        pairs = _pairs(lines)
        found = file.of_ranks(pairs) if pairs else file.of_list(lines)
    return _stated(_checked(_fitted(found, rows, path), path), hints)


@dataclass(frozen=True, slots=True)
class _File:
    """A vocabulary file, and known facts about the model."""

    path: Path
    spec: TextPreprocess
    rows: int | None
    start: int | None
    """Token of the first word, if the user states it."""

    def of_document(self, document: Any) -> Vocabulary:
        """Read a JSON document: a Tokenizer, a layer, a list, or a mapping between words and numbers."""
        config = document.get("config") if isinstance(document, Mapping) else None
        if isinstance(config, Mapping) and "word_index" in config:
            return self._of_tokenizer(config)
        if isinstance(config, Mapping) and isinstance(config.get("vocabulary"), list):
            return self.of_list([str(word) for word in config["vocabulary"]], config.get("standardize"))
        if isinstance(document, list) and all(isinstance(word, str) for word in document):
            return self.of_list(document)
        if isinstance(document, Mapping) and isinstance(document.get("model"), Mapping):
            msg = "a tokenizer of Hugging Face, which splits words into parts"
            raise self._refused(msg)
        if isinstance(document, Mapping) and document:
            pairs = [_word_and_number(key, value) for key, value in document.items()]
            ranks = {pair[0]: pair[1] for pair in pairs if pair is not None}
            if len(ranks) == len(pairs):
                return self.of_ranks(ranks)
        msg = "a JSON document in an unknown format"
        raise self._refused(msg)

    def _of_tokenizer(self, config: Mapping[str, Any]) -> Vocabulary:
        """Read the document of `Tokenizer.to_json()`."""
        if config.get("char_level"):
            msg = "a Tokenizer of characters (char_level)"
            raise self._refused(msg)
        index = config["word_index"]
        ranks: dict[str, int] = json.loads(index) if isinstance(index, str) else dict(index)
        count, oov = config.get("num_words"), config.get("oov_token")
        words = sorted((rank, word) for word, rank in ranks.items() if word != oov and (not count or rank < count))
        first = words[0][0] if words else 1
        split = str(config.get("split") or " ")
        spec = msgspec.structs.replace(
            self.spec,
            start=None,
            unknown=ranks.get(oov) if oov else None,
            first_word=first,
            lower="all" if config.get("lower", True) else "none",
            separators=str(config.get("filters") or ""),
            white_space=split,
        )
        note = f"{self.path.name} is a Keras Tokenizer: the first word is token {first}, and texts have no start token"
        return Vocabulary(tuple(word for _, word in words), spec, (note,), may_be_longer=True)

    def of_ranks(self, ranks: Mapping[str, int]) -> Vocabulary:
        """Read a mapping from words to numbers, as `Tokenizer.word_index` or `imdb.get_word_index()`."""
        by_number = {number: word for word, number in ranks.items()}
        if len(by_number) < len(ranks):
            msg = "a mapping that gives two words the same number"
            raise self._refused(msg)
        order = sorted(by_number)
        special = [number for number in order[:CHECKED_LINES] if by_number[number] in SPECIAL_TOKENS]
        if special:
            below = {PADDING: PAD_TOKENS[0]} | dict.fromkeys(range(1, special[-1]), UNUSED_TOKENS[0])
            by_number = below | by_number
            order = sorted(by_number)
        if order != list(range(order[0], order[0] + len(order))):
            msg = "a mapping with gaps between its numbers"
            raise self._refused(msg)
        if special:
            return self._of_tokens([by_number[number] for number in order])
        words = tuple(by_number[number] for number in order)
        start = self.start
        if start is None and order[0] not in (0, 1):
            start = order[0]
        if start is None:
            start = self._start_of_ranks(words)
        is_imdb = start == IMDB_START and words[: len(IMDB_FIRST)] == IMDB_FIRST
        note = f"the first word of {self.path.name}, {words[0]!r}, is taken as token {start}" + (
            ", as in keras.datasets.imdb.load_data" if is_imdb else ""
        )
        return Vocabulary(words, _numbered(self.spec, start), (note,), may_be_longer=True)

    def _start_of_ranks(self, words: Sequence[str]) -> int:
        """Return the token of the word with rank 1. Raise `ConfigError` if neither the file nor the model shows it."""
        if len(words) == IMDB_WORDS and tuple(words[: len(IMDB_FIRST)]) == IMDB_FIRST:
            return IMDB_START
        if self.rows is not None and self.rows - len(words) in (1, IMDB_START):
            return self.rows - len(words)
        msg = (
            f"{self.path} states the rank of each word, but not its token: set `vocabulary_start` to the token of "
            f"{words[0]!r}, which is 1 for texts of a Keras Tokenizer without oov_token, and {IMDB_START} for "
            "keras.datasets.imdb.load_data (index_from=3)"
        )
        raise ConfigError(msg)

    def of_list(self, lines: Sequence[str], standardize: object = "lower_and_strip_punctuation") -> Vocabulary:
        """Read words in the order of their tokens."""
        if lines and lines[0] in PAD_TOKENS and any(line in UNKNOWN_TOKENS for line in lines[1:CHECKED_LINES]):
            found = self._of_tokens(lines)
            return self._as_layer(found, standardize) if lines[0] == "" and lines[1] == "[UNK]" else found
        for number, line in enumerate(lines[:CHECKED_LINES], start=1):
            if line in SPECIAL_TOKENS and line not in UNUSED_TOKENS and (line or number == 1):
                msg = (
                    f"line {number} of {self.path} is {line!r}: list all tokens, starting with padding (token 0), or "
                    "only words, starting with the word of token 3 or of the token that `vocabulary_start` states; "
                    "padding is added at the start of a text"
                )
                raise ConfigError(msg)
        words = tuple(lines)
        if self.start is not None:
            return Vocabulary(words, _numbered(self.spec, self.start), may_be_longer=True)
        spare = None if self.rows is None else self.rows - len(words)
        if spare is None or spare not in STARTS or spare == FIRST_WORD:
            return Vocabulary(words, self.spec)
        note = (
            f"{self.path.name} has {len(words)} words and the model's embedding {self.rows} rows, so the first word, "
            f"{words[0]!r}, is taken as token {spare}; `vocabulary_start` states another token"
        )
        return Vocabulary(words, _numbered(self.spec, spare), (note,))

    def _of_tokens(self, lines: Sequence[str]) -> Vocabulary:
        """Read a list whose first line is token 0."""
        special = [number for number, line in enumerate(lines[:1024]) if line in SPECIAL_TOKENS]
        first = special[-1] + 1
        if special != list(range(first)):
            msg = "a list with special tokens between its words"
            raise self._refused(msg)
        named = {line: number for number, line in enumerate(lines[:first])}
        tokens = [
            next((named[name] for name in names if name in named), None) for names in (START_TOKENS, UNKNOWN_TOKENS)
        ]
        if self.start is not None and self.start != first:
            msg = (
                f"`vocabulary_start` is {self.start}, but the first word of {self.path} is token {first}: leave it out"
            )
            raise ConfigError(msg)
        if not any(name in named for name in PAD_TOKENS) and PADDING in named.values():
            msg = "a list whose token 0 is not padding"
            raise self._refused(msg)
        spec = msgspec.structs.replace(self.spec, start=tokens[0], unknown=tokens[1], first_word=max(first, 1))
        note = (
            f"{self.path.name} names the special tokens {', '.join(map(repr, lines[:first]))}; words start at {first}"
        )
        return Vocabulary(tuple(lines[first:]), spec, (note,), may_be_longer=True)

    def _as_layer(self, found: Vocabulary, standardize: object) -> Vocabulary:
        """Return the vocabulary of a `TextVectorization` layer with the layer's rules for texts."""
        if standardize not in ("lower_and_strip_punctuation", "lower", "strip_punctuation", None):
            msg = "a TextVectorization layer with a custom function for `standardize`"
            raise self._refused(msg)
        rules = str(standardize)
        spec = msgspec.structs.replace(
            found.spec,
            padding="post",
            truncation="post",
            lower="ascii" if "lower" in rules else "none",
            removed=punctuation if "punctuation" in rules else "",
            separators="",
            white_space=WHITE_SPACE,
        )
        note = (
            f"{self.path.name} is taken as the vocabulary of a TextVectorization layer: punctuation is removed, and "
            "padding is added at the end; `padding` states another end"
        )
        return replace(found, spec=spec, notes=(note,))

    def _refused(self, what: str) -> DataError:
        return _refused(self.path, what)


def _numbered(spec: TextPreprocess, first: int) -> TextPreprocess:
    """Return the specification for words that begin at a token.

    The first token determines the special tokens. If it is 3 or more, token 1 starts a text and token 2 is an unknown
    word, as in `load_data`. If it is 2, token 1 is an unknown word. If it is 1, unknown words are dropped, as by a
    `Tokenizer` without `oov_token`.
    """
    if not 1 <= first <= 1000:
        msg = f"`vocabulary_start` is {first}, but the first word has a token from 1 to 1000: token 0 is padding"
        raise ConfigError(msg)
    if first >= FIRST_WORD:
        return msgspec.structs.replace(spec, first_word=first)
    return msgspec.structs.replace(spec, start=None, unknown=1 if first == 2 else None, first_word=first)


def renumbered(spec: TextPreprocess, first: int, padding: str) -> TextPreprocess:
    """Return a specification with a different token for the first word, and with the padding on a different side."""
    return msgspec.structs.replace(_numbered(spec, first), padding=padding)


def _stated(found: Vocabulary, hints: ModelHints) -> Vocabulary:
    """Return the vocabulary with the sides of padding and truncation that the user states."""
    for name in ("padding", "truncation"):
        if getattr(hints, name) not in (None, "pre", "post"):
            msg = f"{name}={getattr(hints, name)}: must be pre or post"
            raise ConfigError(msg)
    stated = {name: value for name in ("padding", "truncation") if (value := getattr(hints, name)) is not None}
    return replace(found, spec=msgspec.structs.replace(found.spec, **stated))


def _fitted(found: Vocabulary, rows: int | None, path: Path) -> Vocabulary:
    """Return the vocabulary without the words that have no row in the embedding."""
    tokens = found.spec.first_word + len(found.words)
    if rows is None or tokens <= rows:
        return found
    if not found.may_be_longer:
        msg = (
            f"{path} gives {tokens} tokens, but the model's embedding has {rows} rows: if the list is longer than the "
            "model's vocabulary, set `vocabulary_start` to the token of its first word"
        )
        raise ConfigError(msg)
    kept = max(0, rows - found.spec.first_word)
    note = f"the last {len(found.words) - kept} words of {path.name} have no row in the model's embedding"
    return replace(found, words=found.words[:kept], notes=(*found.notes, f"{note}, and count as unknown words"))


def _checked(found: Vocabulary, path: Path) -> Vocabulary:
    """Return the vocabulary with notes about words that never occur. Raise `DataError` for a wrong word."""
    seen: dict[str, int] = {}
    for number, word in enumerate(found.words, 1):
        if not word or word in seen:
            problem = f"is also word {seen[word]}" if word else "is empty"
            msg = f"{path}: word {number}, {word[:60]!r}, {problem}: the words after it would have wrong tokens"
            raise DataError(msg)
        if "\n" in word or "\r" in word:
            msg = f"{path}: word {number}, {word[:60]!r}, contains a line end: remove it"
            raise DataError(msg)
        seen[word] = number
    if not found.words:
        msg = f"{path} contains no words"
        raise DataError(msg)
    split = WordSplitter(found.spec)
    never = [word for word in found.words if word not in UNUSED_TOKENS and split(word) != [word]]
    if len(never) <= len(found.words) / 20:
        return found
    note = (
        f"{len(never)} of {len(found.words)} words in {path.name} never occur in a prepared text, for example "
        f"{never[0]!r}: texts are converted to lower case and split at punctuation"
    )
    return replace(found, notes=(*found.notes, note))


def _refuse_other_kinds(text: str, path: Path) -> None:
    """Raise `DataError` for subword vocabularies (WordPiece, BPE, SentencePiece) and for tables of word vectors."""
    lines = text[: 1 << 16].splitlines()[:200]
    if sum(line.startswith("##") for line in text.splitlines()) > 3 or "[CLS]" in lines:
        raise _refused(path, "a vocabulary of WordPiece, as BERT uses, which splits words into parts")
    if any(line.startswith("#version:") for line in lines[:1]) or sum("\u0120" in line for line in lines) > 3:
        raise _refused(path, "a vocabulary of byte pair encoding, which splits words into parts")
    if sum("\u2581" in line for line in lines) > 3:
        raise _refused(path, "a vocabulary of SentencePiece, which splits words into parts")
    if sum(len(re.findall(r"\s-?\d*\.\d+", line)) > 8 for line in lines) > len(lines) / 2:
        raise _refused(path, "a table of word vectors")


def _refused(path: Path, what: str) -> DataError:
    """Return the error about a file that is not a vocabulary of words."""
    return DataError(
        f"{path} is {what}: give a list of the model's words, or export the model with task=tensor, which takes tokens"
    )


def _json(text: str) -> Any:
    """Return the JSON document in a text, or None if there is none.

    Programs that encode the text of `Tokenizer.to_json()` again write a string with a document.
    """
    try:
        document = json.loads(text)
        return json.loads(document) if isinstance(document, str) else document
    except (ValueError, RecursionError):
        return None


def _word_and_number(key: str, value: object) -> tuple[str, int] | None:
    """Return the word and the number of an entry of a mapping from words to numbers or from numbers to words."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return key, value
    if isinstance(value, str) and key.isascii() and key.isdecimal():
        return value, int(key)
    return None


def _pairs(lines: Sequence[str]) -> dict[str, int]:
    """Return the number of each word if each line states a word and a number. Otherwise, the result is empty."""
    found = [re.fullmatch(r"(?:(\d+)[\s,;:]+(\S+)|(\S+?)[\s,;:]+(\d+))", line) for line in lines]
    if len(lines) < 2 or not all(found):
        return {}
    pairs = [(match[2] or match[3], int(match[1] or match[4])) for match in found if match is not None]
    numbers = sorted(number for _, number in pairs)
    return dict(pairs) if numbers == list(range(numbers[0], numbers[0] + len(numbers))) else {}

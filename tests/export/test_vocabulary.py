"""Vocabularies of text models in common formats, and the numbering of their words."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from keras.src.legacy.preprocessing.text import Tokenizer

from orilla.devices.errors import ConfigError, DataError
from orilla.export.export import ExportOptions, export
from orilla.export.model_hints import ModelHints
from orilla.export.vocabulary import read_vocabulary
from orilla.runtime.model import Model

TEXTS = [
    "The film, the FILM!",
    "A good   plot\tand a bad film.",
    "don't good-bad \u00c9t\u00e9 naive caf\u00e9",
    "",
    "?",
]
WORDS = ("the", "film", "a", "good", "bad")


def read(folder, content, rows=None, length=8, name="words.txt", **hints):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_vocabulary(ModelHints(task="text", vocabulary=folder / name, **hints), length, rows)


def tokens(found, texts=TEXTS):
    prepare = found.spec.preprocessor(found.words)
    return [prepare(text).tolist() for text in texts]


@pytest.mark.parametrize("options", [{}, {"oov_token": "<OOV>"}, {"num_words": 4}, {"num_words": 4, "oov_token": "x"}])
@pytest.mark.parametrize("rules", [{}, {"lower": False, "filters": "!."}])
@pytest.mark.parametrize("padding", [None, "post"])
def test_a_tokenizer_gives_the_same_tokens_as_in_keras(options, rules, padding, tmp_path):
    tokenizer = Tokenizer(**options, **rules)
    tokenizer.fit_on_texts(TEXTS[:2])
    found = read(tmp_path, tokenizer.to_json(), name="tokenizer.json", padding=padding)
    # Keras' guide encodes the JSON text a second time.
    assert read(tmp_path, json.dumps(tokenizer.to_json()), name="tokenizer.json", padding=padding) == found
    expected = [
        ([0] * (8 - len(row)) + row if padding is None else row + [0] * (8 - len(row)))[:8]
        for row in tokenizer.texts_to_sequences(TEXTS)
    ]
    assert tokens(found) == expected


@pytest.mark.parametrize("standardize", ["lower_and_strip_punctuation", "lower", "strip_punctuation"])
def test_a_layer_gives_the_same_tokens_as_in_keras(standardize, tmp_path):
    layer = layers.TextVectorization(output_sequence_length=8, standardize=standardize)
    layer.adapt(TEXTS[:2])
    expected = np.asarray(layer(TEXTS)).tolist()
    document = {"config": {"vocabulary": layer.get_vocabulary(), "standardize": standardize}}
    assert tokens(read(tmp_path, json.dumps(document))) == expected
    if standardize == "lower_and_strip_punctuation":
        listed = "\n".join(layer.get_vocabulary()) + "\n"
        for content in (listed, listed.replace("\n", "\r\n").encode("utf-8-sig"), json.dumps(layer.get_vocabulary())):
            found = read(tmp_path, content)
            assert tokens(found) == expected
            assert "TextVectorization" in found.notes[0]


@pytest.mark.parametrize(
    ("content", "rows", "start", "expected"),
    [
        # The tokens are the start, an unknown word and the first word.
        ("\n".join(WORDS), None, None, (1, 2, 3)),
        ("\n".join(WORDS), 8, None, (1, 2, 3)),
        ("\n".join(WORDS), 9, None, (1, 2, 4)),
        ("\n".join(WORDS), 7, None, (None, 1, 2)),
        ("\n".join(WORDS), 6, None, (None, None, 1)),
        ("\n".join(WORDS), 500, None, (1, 2, 3)),
        ("\n".join(WORDS), 500, 4, (1, 2, 4)),
        ("\n".join(WORDS), 500, 1, (None, None, 1)),
        ("<unused>\n" + "\n".join(WORDS), 9, None, (1, 2, 3)),
        ("<PAD>\n<START>\n<UNK>\n<UNUSED>\n" + "\n".join(WORDS), None, None, (1, 2, 4)),
        ("<pad>\n<unk>\n" + "\n".join(WORDS), None, None, (None, 1, 2)),
        ("".join(f"{word}\t{rank}\n" for rank, word in enumerate(WORDS, 1)), 9, None, (1, 2, 4)),
        ("".join(f"{rank} {word}\n" for rank, word in enumerate(WORDS, 1)), 6, None, (None, None, 1)),
        (json.dumps({word: rank for rank, word in enumerate(WORDS, 1)}), 9, None, (1, 2, 4)),
        (json.dumps({word: rank for rank, word in enumerate(WORDS, 1)}), 6, None, (None, None, 1)),
        (json.dumps({word: rank for rank, word in enumerate(WORDS, 1)}), 500, 4, (1, 2, 4)),
        (json.dumps(dict(enumerate(WORDS, 1))), 9, None, (1, 2, 4)),
        (json.dumps({"<OOV>": 1} | {word: rank for rank, word in enumerate(WORDS, 2)}), 500, None, (None, 1, 2)),
        (
            json.dumps({"<PAD>": 0, "<START>": 1, "<UNK>": 2, "<UNUSED>": 3} | {w: n for n, w in enumerate(WORDS, 4)}),
            500,
            None,
            (1, 2, 4),
        ),
    ],
)
def test_the_numbering_of_words(content, rows, start, expected, tmp_path):
    found = read(tmp_path, content, rows, vocabulary_start=start)
    words = tuple(word for word in found.words if word != "<unused>")
    assert words == WORDS
    spec = found.spec
    first = spec.first_word + found.words.index("the")
    assert (spec.start, spec.unknown, first - (found.words[0] == "<unused>")) == expected
    assert spec.problem() is None


@pytest.mark.parametrize(
    ("content", "rows", "error", "match"),
    [
        (json.dumps({"the": 1, "film": 2}), 500, ConfigError, r"set `vocabulary_start` to the token of 'the'"),
        ("[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\nthe\n##ing\n", None, DataError, "WordPiece, as BERT uses"),
        (
            "<unk>\t0\n<s>\t0\n\u2581the\t-3\n\u2581a\t-4\n\u2581of\t-4\n\u2581to\t-4\n",
            None,
            DataError,
            "SentencePiece",
        ),
        ("#version: 0.2\n\u0120 t\n", None, DataError, "byte pair encoding"),
        ("".join(f"w{n} " + " ".join(["0.5"] * 50) + "\n" for n in range(5)), None, DataError, "word vectors"),
        (json.dumps({"version": "1.0", "model": {"type": "BPE"}}), None, DataError, "tokenizer of Hugging Face"),
        ("[UNK]\nthe\nfilm\n", 50, ConfigError, r"line 1 of .* is '\[UNK\]'"),
        ("the\nfilm\nthe\n", 50, DataError, "word 3, 'the', is also word 1"),
        ("the\n\nfilm\n", 50, DataError, "word 2, '', is empty"),
        ("\n".join(WORDS), 4, ConfigError, "gives 8 tokens, but the model's embedding has 4 rows"),
        (b"caf\xe9\n", None, DataError, r"not UTF-8 \(line 1, byte 4 .*`encoding`"),
        (b"\x80\x04\x95\x00", None, DataError, "a Python pickle"),
        ("", None, DataError, "contains no words"),
        ("<PAD>\n<UNK>\nthe\n", None, None, None),
    ],
)
def test_vocabularies_that_are_refused(content, rows, error, match, tmp_path):
    if error is None:
        with pytest.raises(ConfigError, match=r"`vocabulary_start` is 4, but the first word of .* is token 2"):
            read(tmp_path, content, rows, vocabulary_start=4)
        return
    with pytest.raises(error, match=match) as caught:
        read(tmp_path, content, rows)
    assert "\n" not in str(caught.value)


def test_words_that_have_no_row_or_never_occur(tmp_path):
    found = read(tmp_path, json.dumps({word: rank for rank, word in enumerate(WORDS, 1)}), 6, vocabulary_start=4)
    assert found.words == ("the", "film")
    assert "the last 3 words of words.txt have no row" in found.notes[-1]
    found = read(tmp_path, "The\nFilm\nfilm\n", 50)
    assert found.notes[-1].startswith("2 of 3 words in words.txt never occur in a prepared text, for example 'The'")
    with pytest.raises(ConfigError, match="`vocabulary_start` is 0"):
        read(tmp_path, "the\n", 50, vocabulary_start=0)
    with pytest.raises(ConfigError, match="padding=left: must be pre or post"):
        read(tmp_path, "the\n", 50, padding="left")


@pytest.mark.real_data
def test_keras_own_index_of_imdb(tmp_path, data_root):
    index = data_root / "imdb_word_index.json"
    found = read_vocabulary(ModelHints(task="text", vocabulary=index), 12, 10_000)
    assert (found.words[:2], found.spec.first_word, len(found.words)) == (("the", "and"), 4, 9_996)
    assert "keras.datasets.imdb" in found.notes[0]
    ranks = json.loads(index.read_bytes())
    listed = read(tmp_path, "\n".join(sorted(ranks, key=ranks.__getitem__)), 10_000, 12, vocabulary_start=4)
    assert listed.words == found.words
    text = "a good film"
    expected = [1, *(3 + ranks[word] for word in text.split())]
    assert tokens(found, [text]) == [[0] * 8 + expected]


def text_model(folder, rows, token):
    """Write a model that finds one token, and texts of two classes."""
    model = keras.Sequential(
        [
            keras.Input((8,), dtype="int32"),
            layers.Embedding(rows, 1),
            layers.GlobalMaxPooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    table = np.zeros((rows, 1))
    table[token] = 1
    model.set_weights([table, np.array([[20.0]]), np.array([-10.0])])
    model.save(folder / "model.keras")
    lines = [f"the {'good' if n % 2 else 'bad'} film {n},{'positive' if n % 2 else 'negative'}" for n in range(60)]
    (folder / "texts.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    (folder / "labels.txt").write_text("negative\npositive\n")
    (folder / "words.txt").write_text("\n".join(("the", "and", "film", "bad", "good", "plot")) + "\n")
    return ModelHints(task="text", labels=folder / "labels.txt", vocabulary=folder / "words.txt")


def exported(folder, hints):
    options = ExportOptions(
        recipes="litert_fp32", calibration=str(folder / "texts.csv"), timing=False, golden_count=1, hints=hints
    )
    return export(folder / "model.keras", folder / f"{hints.vocabulary_start}.orilla", options)


def test_ranks_of_keras_imdb_are_recognised_by_the_embedding(tmp_path):
    """The most frequent word is token 4, so `good`, which has rank 5, is token 8."""
    manifest = exported(tmp_path, text_model(tmp_path, 10, 8))
    assert manifest.report.metrics["accuracy"] == 1.0
    assert "the first word, 'the', is taken as token 4" in manifest.report.doubts[0]
    with Model.open(tmp_path / "None.orilla") as model:
        assert model("a good film").result.to_dict()["top"]["label"] == "positive"


def test_a_model_that_guesses_with_one_numbering_and_not_with_another_is_told(tmp_path):
    hints = text_model(tmp_path, 400, 8)
    with pytest.raises(ConfigError, match=r"% of .* texts correctly if .* token 3 .* 100 % .* token 4 .*: set `voc"):
        exported(tmp_path, hints)
    stated = ModelHints(task="text", labels=hints.labels, vocabulary=hints.vocabulary, vocabulary_start=3)
    assert "check this option" in exported(tmp_path, stated).report.doubts[-1]
    right = ModelHints(task="text", labels=hints.labels, vocabulary=hints.vocabulary, vocabulary_start=4)
    assert exported(tmp_path, right).report.doubts == ()

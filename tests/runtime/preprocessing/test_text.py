"""All parts of the project convert a text to the same tokens, and a text model classifies texts line by line."""

import io
import json
import sys

import msgspec
import numpy as np
import pytest
from helpers import factories
from hypothesis import given
from hypothesis import strategies as st

import orilla.runtime
from orilla.devices.errors import BundleError, DataError, SourceError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.preprocessing.text import (
    FIRST_WORD,
    PADDING,
    START,
    UNKNOWN,
    TextPreprocess,
    Tokeniser,
    decode_vocabulary,
    encode_vocabulary,
    learn_vocabulary,
    words,
)
from orilla.runtime.sources.text_lines import Lines
from orilla.runtime.verify import verify

VOCABULARY = ("the", "film", "don't")


def tokens(text, **spec):
    return Tokeniser(TextPreprocess(**{"length": 6, **spec}), VOCABULARY)(text).tolist()


def test_a_text_is_cut_into_words_as_keras_cuts_it():
    assert words('The FILM, (really) "don\'t"<br />see_it!\n') == ["the", "film", "really", "don't", "br", "see", "it"]


def test_tokens_are_padded_and_cut_where_the_spec_says():
    assert tokens("The film!") == [PADDING, PADDING, PADDING, START, FIRST_WORD, FIRST_WORD + 1]
    assert tokens("The film!", padding="post") == [START, FIRST_WORD, FIRST_WORD + 1, PADDING, PADDING, PADDING]
    long = "never the the the film film don't"
    assert tokens(long) == [FIRST_WORD, FIRST_WORD, FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 1, FIRST_WORD + 2]
    assert tokens(long, truncation="post") == [START, UNKNOWN, FIRST_WORD, FIRST_WORD, FIRST_WORD, FIRST_WORD + 1]
    with pytest.raises(DataError, match="expected a string, got bytes"):
        tokens(b"film")


@given(st.text(max_size=60))
def test_any_text_becomes_tokens_of_the_vocabulary(text):
    tokeniser = Tokeniser(TextPreprocess(length=9), VOCABULARY)
    numbers = tokeniser(text)
    assert numbers.shape == (9,)
    assert numbers.dtype == np.int32
    assert 0 <= numbers.min() <= numbers.max() < tokeniser.size == 6


def test_a_vocabulary_is_the_most_frequent_words():
    learnt = learn_vocabulary(["b a a", "c b a", "d"], FIRST_WORD + 3)
    assert learnt == ("a", "b", "c")
    assert decode_vocabulary(encode_vocabulary(learnt)) == learnt


@pytest.mark.parametrize("data", [b"", b"a\n\nb\n", b"a\na\n", b"\xff\n"])
def test_an_invalid_vocabulary_is_rejected(data):
    with pytest.raises(BundleError, match="vocabulary"):
        decode_vocabulary(data)


def test_a_text_model_answers_a_text_and_a_stream(text_bundle, tmp_path):
    (tmp_path / "lines.txt").write_text("a lovely film\n\n  the plot was dreadful \n")
    with orilla.runtime.open(text_bundle) as model:
        single = model("a lovely film")
        ticks = list(model.stream(tmp_path / "lines.txt"))
        with pytest.raises(DataError, match="expected a string, got ndarray"):
            model(factories.picture())
    assert [tick.frame.text for tick in ticks] == ["a lovely film", "the plot was dreadful"]
    assert [tick.index for tick in ticks] == [0, 1]
    assert np.array_equal(ticks[0].result.scores, single.result.scores)
    assert single.result.top.label in ("bad", "good")
    assert single.result.scores.sum() == pytest.approx(1)
    assert ticks[1].to_dict()["text"] == "the plot was dreadful"


def test_the_same_texts_in_two_orders_give_the_same_answers(text_bundle):
    texts = [f"{word} film of the plot" for word in ("lovely", "dreadful", "the", "odd")]
    for variant in [variant.name for variant in Bundle.open(text_bundle).manifest.variants]:
        with orilla.runtime.open(text_bundle, variant=variant) as model:
            forward = [model(text).result.scores for text in texts]
            back = [model(text).result.scores for text in reversed(texts)]
        assert np.array_equal(forward, back[::-1])


def test_a_text_bundle_verifies_itself_and_finds_another_vocabulary(text_bundle, reviews, tmp_path):
    bundle = Bundle.open(text_bundle)
    for verdict in verify(bundle, bundle.manifest.variants, open_dataset(reviews)):
        assert verdict.passed
        assert [stage.name for stage in verdict.stages] == ["decode", "tokenise", "infer", "result", "accuracy"]
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    files["vocabulary.txt"] = b"plot\nfilm\nlovely\ndreadful\nthe\nof\n"
    changed = Bundle(bundle.path, bundle.manifest, files)
    for verdict in verify(changed, bundle.manifest.variants):
        assert verdict.first_difference == "tokenise"


def test_a_text_task_needs_its_vocabulary(text_bundle):
    from orilla.runtime.bundle import manifest as manifests

    manifest = Bundle.open(text_bundle).manifest
    broken = msgspec.structs.replace(manifest, vocabulary=None)
    with pytest.raises(BundleError, match="are wrong for task text"):
        manifests.decode(manifests.encode(broken))


def test_run_reads_standard_input(text_bundle, monkeypatch, capfdbinary):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("caf\u00e9 film\nthe plot\n".encode())))
    assert main(["run", str(text_bundle), "--source", "-"]) == 0
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["caf\u00e9 film", "the plot"]
    assert {"label", "score"} == set(lines[0]["result"]["top"])


def test_texts_that_cannot_be_read(text_bundle, tmp_path, capsys):
    with pytest.raises(SourceError, match="no such file"):
        Lines.open(str(tmp_path / "none.txt"))
    with pytest.raises(SourceError, match="is a folder"):
        Lines.open(str(tmp_path))
    (tmp_path / "latin.txt").write_bytes(b"good\ncaf\xe9\n")
    with orilla.runtime.open(text_bundle) as model:
        ticks = model.stream(tmp_path / "latin.txt")
        next(ticks)
        with pytest.raises(SourceError, match=r"latin\.txt line 2 is not UTF-8"):
            next(ticks)
    (tmp_path / "good.txt").write_text("good\n" * 50)
    assert (
        main(["run", str(text_bundle), "--source", str(tmp_path / "good.txt"), "--sink", f"video:{tmp_path}/o.mp4"])
        == 2
    )
    assert "there is no image to draw on" in capsys.readouterr().err
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.parametrize("kind", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_texts_of_any_editor(kind, end, size):
    data = end.join(["a caf\u00e9", "", "the plot "]).encode(kind)
    chunks = iter([data[start : start + size] for start in range(0, len(data), size)])
    lines = Lines("x", lambda: next(chunks, b""), lambda: None)
    assert [line.text for line in iter(lines.read, None)] == ["a caf\u00e9", "the plot"]


def test_a_text_with_nul_characters_is_refused(tmp_path):
    (tmp_path / "wide.txt").write_bytes("good\n".encode("utf-16-le"))
    with pytest.raises(SourceError, match=r"line 1 contains a NUL character: .* UTF-16 without a byte order mark"):
        Lines.open(str(tmp_path / "wide.txt")).read()

"""The comparison of variants by accuracy, latency and size."""

import json

import msgspec
import pytest

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.comparison import pareto, why_default
from orilla.runtime.bundle.manifest import FileEntry, Latency
from orilla.runtime.cli import main


@pytest.fixture
def made(tiny_bundle):
    """Return a function that builds a manifest from (name, drop, p50 in ms or None, bytes)."""
    manifest = Bundle.open(tiny_bundle).manifest
    full, quantised = manifest.variant("litert_fp32"), manifest.variant("litert_wi8_ai8")

    def make(*rows, default=None):
        variants, files = [], {}
        for name, drop, p50_ms, size in rows:
            variant = full if name.endswith("fp32") else quantised
            check = msgspec.structs.replace(variant.check, drop=drop)
            latency = None if p50_ms is None else Latency(p50_ms, None, 10)
            variants.append(msgspec.structs.replace(variant, name=name, file=name, check=check, latency=latency))
            files[name] = FileEntry(size, "")
        chosen = default or rows[0][0]
        return msgspec.structs.replace(manifest, variants=tuple(variants), files=files, default=chosen)

    return make


ROWS = (
    ("litert_fp32", 0.0, 8.0, 400),
    ("litert_fp16", 0.0, 8.1, 200),
    ("litert_wi8_ai8", 0.3, 4.0, 110),
    ("onnx_wi8_ai8", 0.3, 4.5, 120),
    ("litert_wi4", 30.0, 3.9, 60),
)


def test_dominated_variants_and_the_knee_are_named(made):
    compared = pareto(made(*ROWS), max_drop=1.0)
    assert compared.objectives == ("drop", "p50_ms", "bytes")
    # The float16 variant is half as large. Its time differs too little to count as different.
    assert compared.dominated == {"litert_fp32": "litert_fp16", "onnx_wi8_ai8": "litert_wi8_ai8"}
    assert compared.front == ("litert_fp16", "litert_wi8_ai8", "litert_wi4")
    assert compared.knee == "litert_wi8_ai8"


def test_the_knee_depends_on_the_allowed_drop(made):
    assert pareto(made(*ROWS), max_drop=0.1).knee == "litert_fp16"
    assert pareto(made(*ROWS), max_drop=100.0).knee == "litert_wi4"
    assert pareto(made(*ROWS[2:]), max_drop=0.1).knee == "litert_wi8_ai8"  # No drop is within the limit.


def test_a_gain_is_no_advantage(made):
    compared = pareto(made(("litert_fp32", 0.0, 4.0, 100), ("litert_wi8_ai8", -0.4, 4.0, 110)), max_drop=1.0)
    assert compared.dominated == {"litert_wi8_ai8": "litert_fp32"}


def test_without_times_only_accuracy_and_size_are_compared(made):
    rows = [(name, drop, None, size) for name, drop, _, size in ROWS]
    compared = pareto(made(*rows), max_drop=1.0)
    assert compared.objectives == ("drop", "bytes")
    assert "litert_fp32" in compared.dominated


def test_equal_variants_do_not_dominate_each_other(made):
    rows = (("litert_fp32", 0.0, 4.0, 100), ("onnx_fp32", 0.0, 4.1, 100))
    assert pareto(made(*rows), max_drop=1.0).dominated == {}


def test_one_sentence_says_why_the_default_is_the_default(made):
    manifest = made(*ROWS, default="litert_wi8_ai8")
    assert why_default(manifest, 1.0) == (
        "litert_wi8_ai8 is the default because it has 0.50 times the time and 0.28 times the size of litert_fp32, and "
        "its drop of 0.30 points is within the allowed 1."
    )
    assert "drop of every variant is above the allowed 0.1" in why_default(manifest, 0.1)
    assert why_default(made(*ROWS), 1.0) == (
        "litert_fp32 is the default, and its drop of 0.00 points is within the allowed 1; 1 of the other variants drop "
        "by more than that."
    )


def test_the_table_marks_the_knee_and_the_dominated_variants(tiny_bundle, capsys):
    assert main(["show", str(tiny_bundle)]) == 0
    text = capsys.readouterr().out
    compared = pareto(Bundle.open(tiny_bundle).manifest, 1.0)
    (knee,) = (line for line in text.splitlines() if line.startswith("+: knee"))
    assert knee.endswith(compared.knee)
    for name in compared.dominated:
        (row,) = (line.split() for line in text.splitlines() if line.split()[:1] == [name])
        assert row[1] in ("-", "*-")


def test_a_single_variant_has_no_marks(capsys):
    assert main(["show", "convnet"]) == 0
    text = capsys.readouterr().out
    assert "knee" not in text
    assert main(["show", "convnet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundle"].endswith("convnet.orilla")

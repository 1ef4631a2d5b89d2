"""The check that every model of `orilla train` must pass: it can be exported in all precisions, verified and run."""

from __future__ import annotations

from pathlib import Path

import orilla.runtime
from orilla.export.export import ExportOptions, export
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.preprocessing.input_kind import RawInput
from orilla.runtime.verify import verify

REQUIRED = {"litert_fp32", "litert_fp16", "onnx_fp32"}
"""Recipes that must work for every model."""

FOR_TRAINED = {"litert_wi8_ai16", "onnx_wi8_ai8_percentile"}
"""Recipes that may fail for untrained weights, because such weights cause unusual activation ranges."""

EXACT, LARGEST = 1e-4, 1.0
"""Largest allowed error of a float32 variant, and of any other variant."""


def leaves_in_every_precision(run: Path, out: Path, sample: RawInput) -> None:
    """Export a run folder with all recipes, verify the bundle, and run two of its variants.

    Args:
        run: Run folder with a model. The model need not be trained.
        out: Bundle to write.
        sample: A raw input of the model.

    Raises:
        AssertionError: A recipe failed, or the outputs of a variant differ too much from those of the original model.
    """
    manifest = export(run, out, ExportOptions(golden_count=2, timing=False))
    failed = {name: reason for name, reason in manifest.report.failed.items() if name not in FOR_TRAINED}
    assert not failed, f"recipes failed: {failed}"
    names = {variant.name for variant in manifest.variants}
    assert names >= REQUIRED, f"the bundle lacks {REQUIRED - names}"
    assert any("ai8" in name for name in names), "the bundle has no variant in int8"
    for variant in manifest.variants:
        limit = EXACT if "fp32" in variant.name.split("_")[1] else LARGEST
        assert variant.check.max_error < limit, f"{variant.name} differs by {variant.check.max_error} from the original"
    for verdict in verify(Bundle.open(out), manifest.variants):
        assert verdict.passed, [stage for stage in verdict.stages if not stage.passed]
    for name in (manifest.default, "onnx_fp32"):
        with orilla.runtime.open(out, variant=name) as opened:
            assert opened(sample).result.to_dict()

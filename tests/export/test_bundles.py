"""The current export builds bundles that equal those committed in `tests/bundles`."""

import msgspec
import numpy as np
import pytest
from helpers import bundles

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_answers
from orilla.runtime.preprocessing.tensor_spec import only
from orilla.runtime.verify import verify


def without_measurements(bundle):
    """Return the manifest as a dictionary, without hashes, latencies and figures that depend on the processor."""
    document = msgspec.to_builtins(bundle.manifest)
    for key in ("files", "default"):
        del document[key]
    for key in ("timed_on", "metrics", "warning"):
        del document["report"][key]
    for variant in document["variants"]:
        for key in ("latency", "check", "tolerance"):
            variant.pop(key, None)
    if document["card"]:
        del document["card"]
    return document


@pytest.mark.parametrize("name", bundles.PLANS)
def test_a_committed_bundle_is_what_export_builds(name, tmp_path):
    built = Bundle.open(bundles.build(name, tmp_path / "built.orilla"))
    committed = Bundle.open(bundles.BUNDLES / f"{name}.orilla")
    assert without_measurements(built) == without_measurements(committed)
    for variant in committed.manifest.variants:
        expected = np.stack([only(outputs) for outputs in read_answers(committed, variant)])
        answers = np.stack([only(outputs) for outputs in read_answers(built, built.manifest.variant(variant.name))])
        assert np.abs(answers - expected).max() <= 0.05, variant.name


@pytest.mark.parametrize("name", bundles.PLANS)
def test_a_committed_bundle_verifies(name):
    bundle = Bundle.open(bundles.BUNDLES / f"{name}.orilla")
    verdicts = verify(bundle, bundle.manifest.variants)
    assert verdicts
    assert all(verdict.passed for verdict in verdicts), verdicts

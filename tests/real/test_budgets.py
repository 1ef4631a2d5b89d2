"""Every shipped model keeps its budget on this machine, relative to its full-precision version."""

from contextlib import closing

import numpy as np
import pytest
from helpers import full_precision

from orilla.devices.budget import budget_of
from orilla.runtime.bench.budgets.live import judge
from orilla.runtime.bench.budgets.measurement import Measurement, budget_target
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.engines import loader
from orilla.runtime.evaluation.accuracy import open_labelled
from orilla.runtime.evaluation.targets import target_of, truth_of
from orilla.runtime.tasks.registry import task_of

LIMITS = {
    "road": {"p50_ratio": 0.95, "p90_ratio": 1.0, "size_ratio": 0.45, "memory_mib": 40},
    "convnet": {"p50_ratio": 0.5, "p90_ratio": 0.6, "size_ratio": 0.26, "memory_mib": 40},
    "mobilenet": {"p50_ratio": 0.75, "p90_ratio": 0.85, "size_ratio": 0.29, "memory_mib": 40},
    "sentiment": {"p50_ratio": [0.2, 1.1], "p90_ratio": [0.2, 1.2], "size_ratio": 0.29, "memory_mib": 40},
}
"""Limits on time, size and memory for each shipped bundle.

The depthwise layers of `road` take about a third of its time, so the ratio of the times depends on the processor:
p50_ratio is 0.88 on an Intel Xeon with AVX-512 and AMX.
"""

VALIDATION = {
    "road": "camvid.zip",
    "convnet": "cats_and_dogs_filtered.zip",
    "mobilenet": "cats_and_dogs_filtered.zip",
    "sentiment": "imdb.npz",
}
"""Data set with which the export of each bundle was validated."""


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """Function that returns a bundle with the full-precision version of a shipped model."""
    folder = tmp_path_factory.mktemp("full_precision")

    def build(name):
        path = folder / f"{name}.orilla"
        return path if path.exists() else full_precision.build(name, path)

    return build


@pytest.mark.parametrize("name", LIMITS)
def test_the_full_precision_reference_decides_as_the_original(name, reference):
    """At least 98 % of the reference's decisions on the golden samples equal those of the original model."""
    whole = Bundle.open(reference(name))
    with closing(loader.load(whole, whole.manifest.variants[0])) as session:
        for golden in read_frames(whole):
            outputs = session.run(golden.prepared)
            agreeing = task_of(whole.manifest.task).agreeing(outputs, golden.outputs, whole.manifest.context)
            assert np.mean(agreeing) > 0.98


@pytest.mark.timing
@pytest.mark.parametrize("name", LIMITS)
def test_the_shipped_variant_is_smaller_and_faster(name, reference, request):
    request.applymarker(pytest.mark.budget(bundle=name, reference=reference(name), **LIMITS[name]))


class AgainstOriginal(Measurement):
    """Measurement that compares the variant with the recorded outputs of the original."""

    def load_reference(self):
        return full_precision.RecordedOriginal(self.subject.bundle.path.stem)


@pytest.mark.real_data
@pytest.mark.parametrize("name", VALIDATION)
def test_the_shipped_variant_is_as_accurate(name, reference, data_root):
    """The accuracy drops by at most half a point, and at least 99 % of the decisions equal those of the original."""
    shipped = Bundle.open(name)
    dataset = open_labelled(str(data_root / VALIDATION[name]), shipped.manifest)
    budget = budget_of({"bundle": name, "reference": str(reference(name)), "max_drop": 0.5, "min_agreement": 0.99})
    for result in judge(AgainstOriginal(budget_target(budget, shipped), dataset=dataset)):
        assert result.passed, result


@pytest.mark.real_data
@pytest.mark.parametrize("name", VALIDATION)
def test_the_recorded_outputs_are_those_of_the_original(name, data_root):
    """The primary metric that is computed from the recorded outputs equals the metric that the export measured."""
    manifest = Bundle.open(name).manifest
    dataset = open_labelled(str(data_root / VALIDATION[name]), manifest)
    split, original = dataset.check_split, full_precision.RecordedOriginal(name)
    assert dataset.digest(split) == manifest.report.sha256
    samples = (dataset.load(split, index) for index in range(len(dataset.names(split))))
    answers = ((truth_of(sample), original.run(sample)) for sample in samples)
    metric = task_of(manifest.task).metric
    measured = target_of(dataset, manifest.task, manifest.context).metrics(answers).metrics()[metric]
    assert measured == pytest.approx(manifest.report.metrics[metric], abs=1e-4)

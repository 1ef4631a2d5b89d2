"""Contract tests that every importer must pass. The checks are in `orilla.export.imports.contract`."""

import pytest

from orilla.export.imports.contract import CHECKS, ImporterCase
from orilla.export.imports.registry import IMPORTERS
from orilla.runtime.bundle.bundle import Bundle

PROBE = Bundle.open("probe")
CASES = {
    f"{name}-{variant.name}": (name, variant)
    for name in IMPORTERS.built_in
    for variant in PROBE.manifest.variants
    if variant.format == name
}
"""Variants of a shipped bundle: a small model file for each format that it contains."""


def write_pt2(file):
    pytest.importorskip("torch", reason="the extra `torch` is not installed")
    from helpers import torch_nets

    torch_nets.save(torch_nets.Net().eval(), file, 1, 3, 24, 32)


WRITTEN = {"torch": write_pt2}
"""Importers of other formats, with the function that writes a small model file."""


@pytest.fixture(params=[*CASES, *WRITTEN])
def case(request, tmp_path):
    name, variant = CASES.get(request.param, (request.param, None))
    file = tmp_path / f"model{IMPORTERS[name].suffixes[0]}"
    if variant is None:
        WRITTEN[name](file)
    else:
        file.write_bytes(PROBE.read(variant.file))
    (tmp_path / "out").mkdir()
    return ImporterCase(name, file, tmp_path / "out")


def test_every_importer_has_a_case():
    assert {name for name, _ in CASES.values()} | set(WRITTEN) == set(IMPORTERS.built_in)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(case, check):
    check(case)

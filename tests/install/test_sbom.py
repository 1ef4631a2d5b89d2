"""The check of the packages' licences finds what is missing or not allowed."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

PLACE = Path(__file__).with_name("sbom.py")


@pytest.fixture(scope="module")
def sbom():
    spec = importlib.util.spec_from_file_location("sbom", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def component(name, *licences):
    return {"name": name, "version": "1", "licenses": [{"license": {"id": licence}} for licence in licences]}


def test_permissive_packages_pass(sbom):
    listed = [component("numpy", "BSD-3-Clause"), component("ml_dtypes", "Apache-2.0"), component("protobuf")]
    assert sbom.problems({"components": listed}, {"numpy", "ml-dtypes"}) == []


def test_what_is_wrong_is_named(sbom):
    listed = [component("a", "GPL-3.0-only"), component("b"), component("c", "MIT", "AGPL-3.0")]
    assert sbom.problems({"components": listed}, {"a", "d"}) == [
        "d is required, but missing in the list",
        "a 1 has the licence 'GPL-3.0-only', which is not in ALLOWED",
        "b 1 states no licence",
        "c 1 has the licence 'AGPL-3.0', which is not in ALLOWED",
    ]


def test_the_required_packages_are_those_without_a_condition(sbom, tmp_path):
    lines = ["Requires-Dist: ai_edge-LiteRT>=2", 'Requires-Dist: tomli>=2; python_version < "3.11"']
    lines += ['Requires-Dist: onnx; extra == "onnx"', "Requires-Dist: numpy[x]<3,>=2"]
    with zipfile.ZipFile(tmp_path / "o.whl", "w") as archive:
        archive.writestr("o-1.dist-info/METADATA", "\n".join(["Metadata-Version: 2.4", "Name: o", *lines, "", ""]))
    assert sbom.required(tmp_path / "o.whl") == {"ai-edge-litert", "numpy"}

"""Contract tests: every recipe builds a file of the stated precision with the same results as the original model."""

import inspect
import re
from collections import Counter
from importlib import import_module

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from helpers import bundles, factories
from onnx import numpy_helper

from orilla.export.export import ExportOptions, export
from orilla.export.quantize.onnx_fusion import WEIGHTED, optimised_operators
from orilla.export.recipe import SUFFIXES, recipes
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.verify import verify

RECIPES = recipes()
EXACT = 1e-4
"""Maximum error of a float32 variant."""

LSTM_IN_FLOAT = {"litert_wi8_ai8_fused"}
"""Recipes that leave the weights of LSTM layers in float32, because the static quantiser of LiteRT does not support
this operator. Embeddings and dense layers are quantised."""

MIN_VALUES = 32
"""Constants with fewer values than this do not count as weights."""

BITS = {"float32": 32, "float16": 16, "int8": 8, "int4": 4}
LITERT_BITS = {"FLOAT32": 32, "FLOAT16": 16, "INT8": 8, "INT4": 4}


@pytest.fixture(params=RECIPES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Bundles of a convolutional and of a recurrent model, each with all recipes that apply to it.

    The recurrent model needs a large embedding, because LiteRT does not quantise the weights of small LSTM layers. It
    also needs a larger LSTM, because ONNX Runtime does not quantise the embedding.
    """
    folder = tmp_path_factory.mktemp("exported")
    options = ExportOptions(recipes="all", golden_count=2, timing=False)
    runs = {
        "convolutional": bundles.road_run(folder / "road", bundles.road_data(folder / "images")),
        "recurrent": factories.text_run(folder / "text", bundles.reviews(folder), embedding=(300, 32), units=40),
    }
    for kind, run in runs.items():
        export(run, folder / f"{kind}.orilla", options)
    return [Bundle.open(folder / f"{kind}.orilla") for kind in runs]


def built(exported, name):
    """Return the bundles that contain the recipe, each with its variant."""
    pairs = [(bundle, variant) for bundle in exported for variant in bundle.manifest.variants if variant.name == name]
    reasons = [
        bundle.manifest.report.failed.get(name) or bundle.manifest.report.not_applicable.get(name)
        for bundle in exported
    ]
    assert pairs, reasons
    return pairs


def weight_bits(bundle, variant):
    """Return the most common number of bits per weight."""
    values = Counter()
    data = bundle.read(variant.file)
    if variant.file.endswith(".onnx"):
        for weight in onnx.load_from_string(data).graph.initializer:
            array = numpy_helper.to_array(weight)
            values[8 * array.dtype.itemsize] += array.size if array.size >= MIN_VALUES else 0
        return max(values, key=values.get)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    names = {value: key for key, value in vars(schema.TensorType).items() if isinstance(value, int)}
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        name, size = names[tensor.type], int(np.prod(tensor.shape))
        if name in LITERT_BITS and model.buffers[tensor.buffer].data is not None and size >= MIN_VALUES:
            values[LITERT_BITS[name]] += size
    return max(values, key=values.get)


def test_the_row_is_named_by_its_precision(name):
    recipe = RECIPES[name]
    assert recipe.format in SUFFIXES
    engine, weights, activations = re.fullmatch(r"(litert|onnx)_(?:w(\w+?)_a)?([a-z]+\d+)(?:_\w+)?", name).groups()
    assert engine == default_engine(recipe.format)
    kinds = {"i": "int", "fp": "float"}
    for expected, row in (
        (weights or activations, recipe.weights),
        *([(activations, recipe.activations)] if weights else []),
    ):
        letters, bits = re.fullmatch(r"([a-z]+)(\d+)", expected).groups()
        assert row.removeprefix("u").startswith(f"{kinds[letters]}{bits}"), row


def test_its_functions_exist_and_take_its_options(name):
    recipe = RECIPES[name]
    for function in filter(None, (recipe.base, recipe.quantise, recipe.sequences)):
        module, _, attribute = function.partition(":")
        assert callable(getattr(import_module(module), attribute))
    if recipe.quantise is not None:
        module, _, attribute = recipe.quantise.partition(":")
        assert set(recipe.options) <= set(inspect.signature(getattr(import_module(module), attribute)).parameters)


def test_it_builds_a_file_of_the_stated_precision(exported, name):
    recipe = RECIPES[name]
    for bundle, variant in built(exported, name):
        assert variant.format == recipe.format
        assert variant.file == f"variants/{name}{SUFFIXES[recipe.format]}"
        bits = 32 if name in LSTM_IN_FLOAT else BITS[re.match(r"\w+", recipe.weights)[0]]
        assert weight_bits(bundle, variant) == bits, bundle.path


def test_onnx_runtime_runs_it_in_integers(exported, name, tmp_path):
    if RECIPES[name].format != "onnx" or "uint8" not in RECIPES[name].activations:
        return
    for bundle, variant in built(exported, name):
        file = tmp_path / "variant.onnx"
        file.write_bytes(bundle.read(variant.file))
        counts = optimised_operators(str(file))
        assert not [kind for kind in counts if kind.removeprefix("Fused") in WEIGHTED], (bundle.path, counts)


def test_it_computes_what_the_original_computes(exported, name):
    for bundle, variant in built(exported, name):
        assert variant.check.max_error < (EXACT if variant.full_precision else 1.0)
        assert variant.check.agreement > 0.9
        (verdict,) = verify(bundle, (variant,))
        assert verdict.passed, [stage for stage in verdict.stages if not stage.passed]

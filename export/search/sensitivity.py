"""Measure how much the outputs change if a single block is quantised. These functions run in a separate process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.export.convert.keras_litert import calibration_samples
from orilla.export.quantize.litert import partial, scope
from orilla.export.quantize.onnx import Calibration, joining_tail, quantise_simplified, simplified_file
from orilla.export.quantize.onnx_fusion import WEIGHTED
from orilla.export.search.blocks import Block, Node, blocks
from orilla.runtime.engines import loader
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tflite.graph import read_operators

SAMPLES = 4
"""Number of calibration samples on which the blocks are compared."""

EXACT_DB = 200.0
"""Ratio of a block whose quantisation does not change the outputs."""


class Ranked(msgspec.Struct, frozen=True):
    """A block, and the effect of its quantisation on the outputs."""

    name: str
    keys: list[str]
    sqnr_db: float
    """Signal-to-quantisation-noise ratio of the outputs if only this block is quantised, in decibels."""


class Ranking(msgspec.Struct, frozen=True):
    """The blocks of a network in descending order of their effect."""

    blocks: list[Ranked]
    always_float: list[str]
    """Operators that stay in float in every variant."""
    measured: int
    """Number of blocks that were measured before the time was over. The others are last."""


Quantise = Callable[[str, set[str]], None]
"""Function that writes a file in which all operators except for the given ones are quantised."""


def rank_litert(source: str, calibration: str, out: str, seconds: float) -> None:
    """Rank the blocks of a float `.tflite` file.

    Args:
        source: Path of the float file.
        calibration: Path of the calibration samples.
        out: Path of the JSON file to write, with a `Ranking`.
        seconds: Time limit for the measurement.
    """
    nodes = [
        Node(
            scope([tensor.name for tensor in operator.outputs]),
            tuple(tensor.name for tensor in operator.activations),
            tuple(tensor.name for tensor in operator.outputs),
            weighted=any(tensor.dtype == "FLOAT32" and tensor.size > 1 for tensor in operator.parameters),
        )
        for operator in read_operators(Path(source).read_bytes(), "the variant")
    ]

    def quantise(file: str, kept: set[str]) -> None:
        partial(source, file, calibration, "MinMax", sorted(kept))

    _rank(_Network("litert", source, blocks(nodes), [], quantise), calibration, out, seconds)


def rank_onnx(source: str, calibration: str, out: str, seconds: float) -> None:
    """Rank the blocks of a float `.onnx` file. See `rank_litert`."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        simplified = simplified_file(source, folder)
        graph = onnx.load(simplified, load_external_data=False).graph
        tail = joining_tail(simplified)
        constants = {tensor.name for tensor in graph.initializer}
        nodes = [
            Node(
                node.name,
                tuple(name for name in node.input if name not in constants),
                tuple(node.output),
                weighted=node.op_type in WEIGHTED,
            )
            for node in graph.node
            if node.name not in tail
        ]

        def quantise(file: str, kept: set[str]) -> None:
            measured = Calibration(calibration, "MinMax", f"{calibration}.{Path(source).name}.MinMax.json")
            quantise_simplified(simplified, file, measured, sorted(kept | set(tail)))

        _rank(_Network("onnx", simplified, blocks(nodes), tail, quantise), calibration, out, seconds)


class _Network:
    """A network whose blocks are ranked."""

    def __init__(
        self, engine: str, source: str, found: list[Block], always_float: list[str], quantise: Quantise
    ) -> None:
        self.engine, self.source, self.blocks = engine, source, found
        self.always_float, self.quantise = always_float, quantise


def _rank(network: _Network, calibration: str, out: str, seconds: float) -> None:
    ends = time.monotonic() + seconds
    samples = list(islice(calibration_samples(calibration), SAMPLES))
    expected = _outputs(network.engine, network.source, samples)
    every = {key for block in network.blocks for key in block.keys}
    ranked, left = [], list(network.blocks)
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        file = str(Path(folder, "alone"))
        while left and time.monotonic() < ends:
            block = left.pop(0)
            network.quantise(file, every - set(block.keys))
            sqnr_db = _sqnr_db(expected, _outputs(network.engine, file, samples))
            ranked.append(Ranked(block.name, list(block.keys), sqnr_db))
    measured = len(ranked)
    ranked.sort(key=lambda block: block.sqnr_db)
    ranked += [Ranked(block.name, list(block.keys), EXACT_DB) for block in left]
    Path(out).write_bytes(msgspec.json.encode(Ranking(ranked, network.always_float, measured)))


def _outputs(engine: str, file: str, samples: list[dict[str, NDArray[np.generic]]]) -> NDArray[np.float64]:
    """Return all outputs for all samples as one vector."""
    session = loader.load_bytes(engine, Path(file).read_bytes(), threads=1)
    names = [slot.name for slot in session.inputs]
    parts: Iterator[Outputs] = (
        session.run(dict(zip(names, (array[0] for array in sample.values()), strict=True))) for sample in samples
    )
    return np.concatenate([array.ravel() for outputs in parts for array in outputs.values()]).astype(np.float64)


def _sqnr_db(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    noise, signal = float(np.mean(np.square(found - expected))), float(np.mean(np.square(expected)))
    return EXACT_DB if noise == 0 or signal == 0 else min(EXACT_DB, 10 * float(np.log10(signal / noise)))

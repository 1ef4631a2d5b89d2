"""Count the operators of a model file that an engine fuses, converts, copies, or runs in float."""

from __future__ import annotations

from dataclasses import dataclass

from orilla.devices.errors import OrillaError
from orilla.runtime.bench.profile.advice import FLOATS, Advice, advise
from orilla.runtime.bench.profile.layer import Layer
from orilla.runtime.bench.profile.onnx_graph import read_graph
from orilla.runtime.bench.profile.profile import completed, timer_of
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.tflite.graph import read_operators


@dataclass(frozen=True, slots=True)
class Fusion:
    """The steps with which an engine runs a variant."""

    variant: str
    engine: str
    operators: int
    """Number of operators in the file."""
    layers: tuple[Layer, ...]
    """The steps that the engine runs, with their shares of the time."""
    advice: tuple[Advice, ...]
    quantised: bool
    """True if the activations of the variant are integers."""

    def count(self, kind: str) -> int:
        """Return the number of steps of one kind."""
        return sum(layer.kind == kind for layer in self.layers)

    def share(self, kind: str) -> float:
        """Return the share of the time, 0–1, that steps of one kind take."""
        return sum(layer.share for layer in self.layers if layer.kind == kind)

    @property
    def outside(self) -> int:
        """Return the number of operators that LiteRT runs without XNNPACK."""
        return sum(layer.place == "LiteRT" for layer in self.layers)

    @property
    def in_float(self) -> int:
        """Return the number of steps of a quantised variant that compute in float."""
        counted = (layer.kind in ("work", "other") and layer.numbers in FLOATS for layer in self.layers)
        return sum(counted) if self.quantised else 0


def fusion(bundle: Bundle, variant: Variant) -> Fusion | str:
    """Run a variant on its default engine, and count the steps. Return the reason if its engine cannot profile it."""
    engine = default_engine(variant.format)
    data = bundle.read(variant.file)
    try:
        sample = read_frames(bundle)[0].prepared
        timing = timer_of(engine)(data, loader.binding_of(bundle.manifest, variant), sample)
        operators = len(read_graph(data).nodes if variant.format == "onnx" else read_operators(data, variant.name))
    except OrillaError as error:
        return str(error)
    quantised = "int" in variant.activations
    layers = completed(timing, {})
    return Fusion(variant.name, engine, operators, layers, advise(layers, quantised=quantised), quantised)

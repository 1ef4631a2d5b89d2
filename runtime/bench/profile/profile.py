"""Profile a variant on an engine: the time and the work of each layer, compared with the peak of this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from orilla.devices.errors import ConfigError
from orilla.devices.progress import Progress
from orilla.runtime.bench.profile import litert, onnx, peak
from orilla.runtime.bench.profile.advice import Advice, advise
from orilla.runtime.bench.profile.layer import Layer, Timing
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader
from orilla.runtime.engines.registry import default_engine, known
from orilla.runtime.engines.session import UNBOUND, Binding
from orilla.runtime.preprocessing.input_kind import ModelInput

RUNS, SECONDS = 50, 2.0
"""Number of inferences without a profiler, and their time limit in seconds."""

PEAK_TYPES: tuple[str, ...] = ("int8", "float32")
"""Data types whose peak is measured."""

AGREE = 1.2
"""If the time of an inference and the sum of its layers' times differ by more than this factor, a note is added."""

LITERT = ("litert", "compiled")
"""Engines whose kernels LiteRT's profiler times."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The time of each layer of a variant on one engine."""

    variant: str
    engine: str
    method: str
    """Method by which the times of the layers were measured."""
    peak_method: str
    """Method by which the peak was measured."""
    threads: int
    runs: int
    """Number of inferences over which the times were averaged."""
    inference_ms: float
    """Median time of one inference on the engine without a profiler, measured in the same run."""
    layers_ms: float
    """Sum of the times of the layers."""
    macs: int
    """Multiply-accumulates of one inference."""
    peaks: dict[str, float]
    """Measured peak in billions of multiply-accumulates per second, by data type."""
    layers: tuple[Layer, ...]
    """The layers in the order of their execution."""
    advice: tuple[Advice, ...]
    """Proposed changes. The first one affects the largest share of the time."""

    @property
    def bound_ms(self) -> float:
        """Return the time that the work would take at the peak, in milliseconds."""
        return sum(layer.macs / self.peaks[layer.numbers] / 1e6 for layer in self.layers if layer.numbers in self.peaks)

    @property
    def disturbed(self) -> str | None:
        """Return a note if the times of the layers do not add up to that of an inference, else None."""
        ratio = self.layers_ms / self.inference_ms
        if 1 / AGREE <= ratio <= AGREE:
            return None
        return (
            f"the layers take {ratio:.2f} times as long as an inference: other programs use the cores, or the engine "
            "spends time between the layers"
        )

    def share(self, kind: str) -> float:
        """Return the share of the total layer time that layers of one kind take, 0–1."""
        return sum(layer.share for layer in self.layers if layer.kind == kind)


def profile(bundle: Bundle, variant: Variant, engine: str | None, progress: Progress) -> Profile:
    """Measure the time of each layer with one thread, on the first golden sample.

    Args:
        bundle: The bundle.
        variant: The variant.
        engine: The engine. If None, the engine on which the variant runs by default.
        progress: Receives the progress.

    Raises:
        ConfigError: The engine has no profiler.
        EngineError: The engine is not installed, or cannot run the variant.
    """
    name = engine or default_engine(variant.format)
    timer = timer_of(name)
    sample = read_frames(bundle)[0].prepared
    progress.status(f"measuring {variant.name} on {name}")
    with closing(loader.load(bundle, variant, engine=name, threads=1)) as session:
        times_ms: list[float] = []
        session.run(sample)
        ends = time.perf_counter() + SECONDS
        while not times_ms or (len(times_ms) < RUNS and time.perf_counter() < ends):
            started = time.perf_counter()
            session.run(sample)
            times_ms.append(1e3 * (time.perf_counter() - started))
        running = session.engine
    progress.status(f"profiling the layers of {variant.name}")
    timing = timer(bundle.read(variant.file), loader.binding_of(bundle.manifest, variant), sample)
    used = {layer.numbers for layer in timing.layers if layer.macs}
    progress.status("measuring the peak of this machine")
    types = [numbers for numbers in PEAK_TYPES if numbers in used]
    peaks = {numbers: _peak(timer, variant.format, numbers) for numbers in types}
    layers = completed(timing, peaks)
    return Profile(
        variant=variant.name,
        engine=running,
        method=timing.method,
        peak_method=peak.DESCRIPTION,
        threads=1,
        runs=timing.runs,
        inference_ms=round(statistics.median(times_ms), 4),
        layers_ms=round(sum(layer.ms for layer in layers), 4),
        macs=sum(layer.macs for layer in layers),
        peaks={numbers: round(rate, 2) for numbers, rate in peaks.items()},
        layers=layers,
        advice=advise(layers, quantised="int" in variant.activations),
    )


Timer = Callable[[bytes, Binding, ModelInput], Timing]


def timer_of(engine: str) -> Timer:
    """Return the function that times the layers of a model file."""
    if engine in LITERT:
        return litert.time_layers
    provider = known(engine).options.get("provider")
    if provider is None:
        msg = f"engine {engine} has no profiler: choose litert, or an engine whose name begins with onnx"
        raise ConfigError(msg)
    return lambda data, binding, sample: onnx.time_layers(data, binding, sample, provider)


def _peak(timer: Timer, format_: str, numbers: str) -> float:
    """Return the peak for a data type, in billions of multiply-accumulates per second."""
    sample = peak.sample()
    timing = timer(
        peak.peak_model(format_, numbers), UNBOUND, np.moveaxis(sample, -1, 0) if format_ == "onnx" else sample
    )
    layer = max(timing.layers, key=lambda layer: layer.macs)
    return peak.require_rate(layer.macs, layer.ms)


def completed(timing: Timing, peaks: dict[str, float]) -> tuple[Layer, ...]:
    """Return the layers with their shares and rates."""
    total = sum(layer.ms for layer in timing.layers) or 1.0
    completed = []
    for layer in timing.layers:
        rate = layer.macs / layer.ms / 1e6 if layer.macs and layer.ms > 0 else None
        limit = peaks.get(layer.numbers)
        completed.append(
            replace(
                layer,
                ms=round(layer.ms, 5),
                share=round(layer.ms / total, 5),
                gmac_per_s=None if rate is None else round(rate, 3),
                of_peak=None if rate is None or limit is None else round(rate / limit, 4),
            )
        )
    return tuple(completed)

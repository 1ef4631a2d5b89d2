"""Explain what slows a variant down, and what to change in the network or in the export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orilla.runtime.bench.profile.layer import Layer

MIN_SHARE = 0.03
"""A problem is reported if it affects at least this share (0–1) of the total layer time."""

LANES = 16
"""Kernels compute this many channels at once, on processors with wide registers."""

SLOW_DEPTHWISE = 2.0
"""Depthwise layers are reported if their share of the time is at least this many times their share of the work."""

SLOW = 0.1
"""A layer is slow if it reaches less than this share of the measured peak."""

FEW_OUTPUTS = 8
"""A layer with at most this many output channels is probably the last layer, whose channels are the model's outputs."""

FEW_CHANNELS = 4
"""A layer with at most this many input channels is probably the first layer. An image has three channels."""

MAX_NAMES = 3
"""Maximum number of layers that one piece of advice names."""

DENSE = (
    "FULLY_CONNECTED",
    "Gemm",
    "FusedGemm",
    "QGemm",
    "MatMul",
    "FusedMatMul",
    "QLinearMatMul",
    "MatMulIntegerToFloat",
)
"""Dense layers."""

FLOATS = ("float32", "float16")


@dataclass(frozen=True, slots=True)
class Advice:
    """One problem that costs time, and what to change."""

    share: float
    """Share of the total layer time that the problem affects, 0–1. The change saves at most this share."""
    problem: str
    change: str


def advise(layers: Sequence[Layer], *, quantised: bool) -> tuple[Advice, ...]:
    """Return the proposed changes. The first one affects the largest share of the time.

    Args:
        layers: The layers, with their shares.
        quantised: True if the activations of the variant are integers.
    """
    rules = (*RULES, *QUANTISED_RULES) if quantised else RULES
    found = [advice for rule in rules for advice in rule(layers)]
    return tuple(sorted(found, key=lambda advice: -advice.share))


def _share(layers: Sequence[Layer]) -> float:
    return sum(layer.share for layer in layers)


def _named(layers: Sequence[Layer]) -> str:
    """Return the names of the slowest layers."""
    ordered = sorted(layers, key=lambda layer: -layer.share)
    names = [layer.name or layer.kernel for layer in ordered[:MAX_NAMES]]
    more = len(layers) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common())


def _outside(layers: Sequence[Layer]) -> Iterator[Advice]:
    """Report operators that XNNPACK or the chosen provider does not run, however little time they take."""
    places = {layer.place for layer in layers}
    if len(places) < 2:
        return
    fallback = "LiteRT" if "LiteRT" in places else "CPU"
    left = [layer for layer in layers if layer.place == fallback]
    main = next(iter(sorted(places - {fallback})))
    yield Advice(
        _share(left),
        f"{len(left)} operators run outside of {main}: {_counted([layer.operator for layer in left])}",
        f"replace them with operators that {main} supports, or move them to the ends of the network: each one also "
        "interrupts the part that it runs",
    )


def _float_work(layers: Sequence[Layer]) -> Iterator[Advice]:
    """Report layers of a quantised variant that compute in float."""
    left = [layer for layer in layers if layer.kind in ("work", "other") and layer.numbers in FLOATS]
    if not left or _share(left) < MIN_SHARE:
        return
    yield Advice(
        _share(left),
        f"{len(left)} layers of the int8 variant compute in float: {_named(left)}",
        "use operators that the engine has in int8, or another recipe: it does not fuse these with the conversions "
        "around them",
    )


def _conversions(layers: Sequence[Layer]) -> Iterator[Advice]:
    left = [layer for layer in layers if layer.kind == "convert"]
    if _share(left) < MIN_SHARE:
        return
    yield Advice(
        _share(left),
        f"{len(left)} conversions between types of numbers: {_named(left)}",
        "quantise the float layers between quantised ones too, or keep whole blocks in float, because each one needs a "
        "conversion before and after it",
    )


def _copies(layers: Sequence[Layer]) -> Iterator[Advice]:
    left = [layer for layer in layers if layer.kind == "copy" and layer.ms > 0]
    if _share(left) < MIN_SHARE:
        return
    turns = [layer for layer in left if "ranspose" in layer.kernel or layer.kernel.startswith("Reorder")]
    if 2 * _share(turns) > _share(left):
        change = (
            "convert the original model again, because this file is made for the other order of the axes (NCHW or NHWC)"
        )
    else:
        change = "add instead of concatenating, and let convolutions pad, because both steps copy their inputs"
    yield Advice(_share(left), f"{len(left)} steps only move data: {_counted(_kernels(left))}", change)


def _kernels(layers: Sequence[Layer]) -> list[str]:
    return [layer.kernel.partition(" (")[0] for layer in layers]


def _depthwise(layers: Sequence[Layer]) -> Iterator[Advice]:
    left = [layer for layer in layers if layer.depthwise]
    work = sum(layer.macs for layer in left) / max(1, sum(layer.macs for layer in layers))
    if _share(left) < max(4 * MIN_SHARE, SLOW_DEPTHWISE * work):
        return
    yield Advice(
        _share(left),
        f"depthwise layers take {100 * _share(left):.0f} % of the time for {100 * work:.0f} % of the "
        "multiply-accumulates",
        "reduce the resolution earlier, or use fewer of these layers, which read much and compute little; the "
        "slowest are " + _named(left),
    )


def _channels(layers: Sequence[Layer]) -> Iterator[Advice]:
    counts = {id(layer): layer.channels[1] for layer in layers if layer.channels is not None}
    left = [layer for layer in layers if counts.get(id(layer), 0) > FEW_OUTPUTS and counts[id(layer)] % LANES]
    if _share(left) < MIN_SHARE:
        return
    sizes = sorted({counts[id(layer)] for layer in left})
    yield Advice(
        _share(left),
        f"{len(left)} layers have {', '.join(map(str, sizes))} channels, no multiple of {LANES}: {_named(left)}",
        f"use the next multiple, which costs the same time, because kernels compute {LANES} channels at once",
    )


def _first(layers: Sequence[Layer]) -> Iterator[Advice]:
    first = next((layer for layer in layers if layer.kind == "work"), None)
    if first is None or first.channels is None or first.channels[0] > FEW_CHANNELS or first.depthwise:
        return
    if first.share < 2 * MIN_SHARE or (first.of_peak or 0) > SLOW:
        return
    reached = "" if first.of_peak is None else f", and reaches {100 * first.of_peak:.0f} % of the peak"
    yield Advice(
        first.share,
        f"the first layer {first.name} has only {first.channels[0]} input "
        f"channel{'s' if first.channels[0] > 1 else ''}{reached}",
        "rearrange blocks of 2x2 pixels into channels before it (space to depth), or use fewer output channels",
    )


def _activations(layers: Sequence[Layer]) -> Iterator[Advice]:
    names = (
        "LOGISTIC",
        "Sigmoid",
        "QLinearSigmoid",
        "HARD_SWISH",
        "HardSwish",
        "Tanh",
        "TANH",
        "Erf",
        "Gelu",
        "QuickGelu",
    )
    curves = [layer for layer in layers if layer.operator in names]
    products = [layer for layer in layers if layer.operator in ("MUL", "Mul", "QLinearMul")]
    left = curves + (products if curves else [])
    if _share(left) < MIN_SHARE:
        return
    yield Advice(
        _share(left),
        f"{len(left)} steps of activation functions that are not fused: {_counted([layer.operator for layer in left])}",
        "train the network with ReLU or ReLU6, which are part of the convolution before them",
    )


def _slow(layers: Sequence[Layer]) -> Iterator[Advice]:
    work = [layer for layer in layers if layer.kind == "work"]
    for layer in work:
        if layer.depthwise or layer.share < 2 * MIN_SHARE or layer.of_peak is None or layer.of_peak > SLOW:
            continue
        if layer is work[0] and layer.channels is not None and layer.channels[0] <= FEW_CHANNELS:
            continue  # The rule `_first` reports this layer.
        inner, outer = layer.channels or (0, 0)
        if layer.operator in DENSE:
            yield Advice(
                layer.share,
                f"the dense layer {layer.name} ({inner} to {outer}) reaches {100 * layer.of_peak:.0f} % of the peak",
                "use fewer units or smaller weights, because it reads each weight for a single multiplication",
            )
            continue
        yield Advice(
            layer.share,
            f"{layer.name} ({inner} to {outer} channels) reaches {100 * layer.of_peak:.0f} % of the peak",
            "reduce the resolution before it, because few channels at a high resolution read more than they compute",
        )


Rule = Callable[[Sequence[Layer]], Iterator[Advice]]
RULES: tuple[Rule, ...] = (
    _outside,
    _conversions,
    _copies,
    _depthwise,
    _channels,
    _first,
    _activations,
    _slow,
)
"""Rules. Each looks for one problem."""

QUANTISED_RULES: tuple[Rule, ...] = (_float_work,)
"""Rules for variants whose activations are integers."""

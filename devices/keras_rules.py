"""Predict, before training or conversion, which layers of a Keras network a device cannot run or runs slowly.

Layers are recognised by class name, so Keras is not needed. Sources of the Edge TPU's rules: Coral's documentation,
"TensorFlow models on the Edge TPU", supported operations; for resize operators google-coral/edgetpu issue 420.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from orilla.devices.errors import unknown_name

DEVICES = {
    "coral": "Coral's Edge TPU: everything int8, one uninterrupted run of known operators",
    "pi4": "Raspberry Pi 4: four Cortex-A72 cores, LiteRT with XNNPACK",
}

TPU_CACHE = 8 << 20
"""Bytes of parameters that the Edge TPU keeps on the chip. The rest is sent for every frame. Source: Coral's
documentation, "Edge TPU performance: parameter data caching"."""

PI4_MACS = 800_000_000
"""Multiplications that a Pi 4 computes in about a tenth of a second: those of SSDLite with MobileNet v2 (Sandler et al.
2018, table 6), which takes 113 ms there (aallan/benchmarking-ml-on-the-edge)."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A problem of one layer or of the network, and a better alternative."""

    layer: str
    problem: str
    instead: str
    maps: bool = True
    """True if the device has operators for the layer, which is then only slow."""

    def __str__(self) -> str:
        return f"{self.layer}: {self.problem}; {self.instead}"


def check(network: Any, device: str) -> list[Advice]:
    """Check a Keras model against the rules of a device. Raises `ConfigError` for an unknown device."""
    if device not in DEVICES:
        raise unknown_name(device, DEVICES, kind="device")
    rules = CORAL if device == "coral" else PI4
    found = [warning for layer in _flat(network) for rule in rules for warning in rule(layer)]
    return found + list(_of_network(network, device))


Rule = Callable[[Any], Iterator[Advice]]


def _flatten_before_dense(layer: Any) -> Iterator[Advice]:
    if _is(layer, "Dense") and layer.kernel.shape[0] >= 4096:
        count = int(layer.kernel.shape[0] * layer.kernel.shape[1])
        yield Advice(
            layer.name,
            f"{count:,} weights on a flattened grid, read from memory for every frame",
            "use GlobalAveragePooling2D instead of Flatten (head=gap)",
        )


def _activation(layer: Any) -> Iterator[Advice]:
    name = type(layer).__name__
    function = getattr(getattr(layer, "activation", None), "__name__", "")
    if name in ("LeakyReLU", "ELU", "LeakyRelu", "Elu", "Gelu", "Selu", "Silu", "Mish", "Softplus"):
        yield Advice(layer.name, f"{name} is not mapped", "take ReLU or ReLU6", maps=False)
    elif function in ("selu", "elu", "gelu", "leaky_relu", "silu", "swish", "mish", "softplus"):
        yield Advice(
            layer.name, f"activation {function} is not mapped and splits the graph", "use relu or relu6", maps=False
        )


def _recurrent(layer: Any) -> Iterator[Advice]:
    if _is(layer, "GRU", "SimpleRNN", "Bidirectional"):
        yield Advice(
            layer.name, f"{type(layer).__name__} is not mapped", "use one LSTM, fused and in full int8", maps=False
        )
    if _is(layer, "Embedding"):
        yield Advice(
            layer.name,
            "an embedding stays on the CPU, and so does everything behind it",
            "run text models on the CPU",
            maps=False,
        )


def _transpose(layer: Any) -> Iterator[Advice]:
    if _is(layer, "Permute"):
        yield Advice(layer.name, "a transposition may not map", "keep channels last throughout the model")
    if _is(layer, "Conv2DTranspose") and max(layer.kernel_size) > 4:
        yield Advice(layer.name, "a large transposed convolution may not map", "use upsampling and a 3x3 convolution")
    if _is(layer, "UpSampling2D"):
        yield Advice(
            layer.name,
            "the compiler rejects the version of its resize operator",
            "repeat values with Concatenate and Reshape, as the road model does",
            maps=False,
        )


def _normalisation(layer: Any) -> Iterator[Advice]:
    if _is(layer, "LayerNormalization", "GroupNormalization", "UnitNormalization"):
        yield Advice(
            layer.name,
            f"{type(layer).__name__} is not mapped",
            "use BatchNormalization, which is folded into the layer before",
            maps=False,
        )


def _attention(layer: Any) -> Iterator[Advice]:
    if _is(layer, "MultiHeadAttention"):
        yield Advice(layer.name, "attention is not mapped", "use depthwise-separable convolutions", maps=False)


def _others(layer: Any) -> Iterator[Advice]:
    if _is(layer, "Conv3D", "Conv3DTranspose"):
        yield Advice(layer.name, f"{type(layer).__name__} is not mapped", "take 2-D convolutions", maps=False)
    if _is(layer, "TFSMLayer"):
        yield Advice(
            layer.name, "a SavedModel does not reveal its layers", "give the model as a .keras file", maps=False
        )


def _dilated(layer: Any) -> Iterator[Advice]:
    if _is(layer, "DepthwiseConv2D") and max(layer.dilation_rate) > 1:
        yield Advice(layer.name, "dilated depthwise convolution is slow on Arm", "take a 5x5 kernel")


def _large_kernel(layer: Any) -> Iterator[Advice]:
    plain = _is(layer, "Conv2D") and not _is(layer, "DepthwiseConv2D")
    if plain and min(layer.kernel_size) > 1 and layer.kernel.shape[2] >= 256:
        yield Advice(
            layer.name,
            f"a full convolution over {layer.kernel.shape[2]} channels",
            "use SeparableConv2D: about nine times fewer multiplications",
        )


CORAL: tuple[Rule, ...] = (
    _flatten_before_dense,
    _activation,
    _recurrent,
    _transpose,
    _normalisation,
    _attention,
    _others,
)
PI4: tuple[Rule, ...] = (_flatten_before_dense, _dilated, _large_kernel)


def _of_network(network: Any, device: str) -> Iterator[Advice]:
    weights = network.count_params()
    if device == "coral" and weights > TPU_CACHE:
        yield Advice(
            network.name,
            f"{weights / 2**20:.1f} MiB of int8 weights, of which 8 MiB stay on the chip",
            "the rest is sent for every frame: use a smaller network",
        )
    if device == "coral" and any(None in given.shape[1:] for given in network.inputs):
        yield Advice(network.name, "its input has no fixed size", "set every side of keras.Input", maps=False)
    count = multiplications(network)
    if device == "pi4" and count > PI4_MACS:
        yield Advice(
            network.name, f"{count / 1e9:.1f} G multiplications per inference", "use a smaller input, or mobilenet"
        )


def multiplications(network: Any) -> int:
    """Return the multiply-accumulate operations of convolutions and dense layers for one sample."""
    total = 0
    for layer in _flat(network):
        if _is(layer, "DepthwiseConv2D"):
            total += int(layer.kernel.shape[0] * layer.kernel.shape[1]) * _size(layer)
        elif _is(layer, "Conv2D", "Conv2DTranspose"):
            grid = layer.output.shape if _is(layer, "Conv2D") else layer.input.shape
            total += math.prod(layer.kernel.shape) * int(grid[1] or 1) * int(grid[2] or 1)
        elif _is(layer, "Dense"):
            total += int(layer.kernel.shape[0] * layer.kernel.shape[1])
    return total


def _size(layer: Any) -> int:
    return math.prod(int(side or 1) for side in layer.output.shape[1:])


def _flat(network: Any) -> Iterator[Any]:
    """Yield all layers and operations, including those of nested models and wrappers."""
    for layer in getattr(network, "operations", network.layers):
        if hasattr(layer, "layers"):
            yield from _flat(layer)
        else:
            yield layer
            if hasattr(layer, "layer"):
                yield layer.layer


def _is(layer: Any, *kinds: str) -> bool:
    """Return True if a layer is an instance of one of the named Keras classes or of a subclass."""
    return any(one.__name__ in kinds for one in type(layer).__mro__)

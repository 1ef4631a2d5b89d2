"""Find the layers of a Keras network that a device cannot run, or runs slowly, before training or conversion.

The rules recognise layers by their class names, so this module does not import Keras. Sources of the rules for the Edge
TPU: Coral's documentation, "TensorFlow models on the Edge TPU", supported operations; for resize operators,
google-coral/edgetpu issue 420.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from orilla.devices.errors import unknown_name

DEVICES = {
    "coral": "Coral's Edge TPU: int8 models that contain only supported operators",
    "pi4": "Raspberry Pi 4: four Cortex-A72 cores, LiteRT with XNNPACK",
}
"""Descriptions of the devices for which there are rules. The keys are the names."""

TPU_CACHE = 8 << 20
"""Size of the Edge TPU's parameter memory in bytes. Parameters that do not fit are sent for every frame.
Source: Coral's documentation, "Edge TPU performance: parameter data caching"."""

PI4_MACS = 800_000_000
"""Number of multiplications that a Raspberry Pi 4 computes in about a tenth of a second. The value is the number of
multiplications of SSDLite with MobileNet v2 (Sandler et al. 2018, table 6), which takes 113 ms
(aallan/benchmarking-ml-on-the-edge)."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A problem with a layer or with the whole network, and an alternative."""

    layer: str
    """Name of the layer, or of the network."""
    problem: str
    instead: str
    maps: bool = True
    """True if the device may run the layer, but slowly. False if the layer must be replaced."""

    def __str__(self) -> str:
        return f"{self.layer}: {self.problem}; {self.instead}"


def check(network: Any, device: str) -> list[Advice]:
    """Return the problems that a Keras model has on a device. Raise `ConfigError` if the device is unknown."""
    if device not in DEVICES:
        raise unknown_name(device, DEVICES, kind="device")
    rules = CORAL if device == "coral" else PI4
    advice = [item for layer in _flat(network) for rule in rules for item in rule(layer)]
    return advice + list(_network_rules(network, device))


Rule = Callable[[Any], Iterator[Advice]]
"""Function that yields the problems with one Keras layer."""


def _flatten_before_dense(layer: Any) -> Iterator[Advice]:
    if _is(layer, "Dense") and layer.kernel.shape[0] >= 4096:
        count = int(layer.kernel.shape[0] * layer.kernel.shape[1])
        yield Advice(
            layer.name,
            f"its {count:,} weights for a flattened feature map are read from memory for every frame",
            "use GlobalAveragePooling2D instead of Flatten (head=gap)",
        )


def _activation(layer: Any) -> Iterator[Advice]:
    name = type(layer).__name__
    function = getattr(getattr(layer, "activation", None), "__name__", "")
    if name in ("LeakyReLU", "ELU", "LeakyRelu", "Elu", "Gelu", "Selu", "Silu", "Mish", "Softplus"):
        yield Advice(layer.name, f"the Edge TPU does not run {name}", "use ReLU or ReLU6", maps=False)
    elif function in ("selu", "elu", "gelu", "leaky_relu", "silu", "swish", "mish", "softplus"):
        yield Advice(
            layer.name, f"the Edge TPU does not run the activation {function}", "use relu or relu6", maps=False
        )


def _recurrent(layer: Any) -> Iterator[Advice]:
    if _is(layer, "GRU", "SimpleRNN", "Bidirectional"):
        yield Advice(
            layer.name,
            f"the Edge TPU does not run {type(layer).__name__}",
            "use a single LSTM layer, and export it with a fused int8 recipe",
            maps=False,
        )
    if _is(layer, "Embedding"):
        yield Advice(
            layer.name,
            "an embedding runs on the CPU, and so does everything after it",
            "run text models on the CPU",
            maps=False,
        )


def _transpose(layer: Any) -> Iterator[Advice]:
    if _is(layer, "Permute"):
        yield Advice(layer.name, "the Edge TPU may not run a transposition", "keep channels last throughout the model")
    if _is(layer, "Conv2DTranspose") and max(layer.kernel_size) > 4:
        yield Advice(
            layer.name,
            "the Edge TPU may not run a large transposed convolution",
            "use upsampling and a 3x3 convolution",
        )
    if _is(layer, "UpSampling2D"):
        yield Advice(
            layer.name,
            "the Edge TPU's compiler rejects the version of its resize operator",
            "repeat values with Concatenate and Reshape, as the road model does",
            maps=False,
        )


def _normalisation(layer: Any) -> Iterator[Advice]:
    if _is(layer, "LayerNormalization", "GroupNormalization", "UnitNormalization"):
        yield Advice(
            layer.name,
            f"the Edge TPU does not run {type(layer).__name__}",
            "use BatchNormalization, which the conversion merges into the previous layer",
            maps=False,
        )


def _attention(layer: Any) -> Iterator[Advice]:
    if _is(layer, "MultiHeadAttention"):
        yield Advice(
            layer.name, "the Edge TPU does not run attention", "use depthwise-separable convolutions", maps=False
        )


def _others(layer: Any) -> Iterator[Advice]:
    if _is(layer, "Conv3D", "Conv3DTranspose"):
        yield Advice(
            layer.name, f"the Edge TPU does not run {type(layer).__name__}", "use 2-D convolutions", maps=False
        )
    if _is(layer, "TFSMLayer"):
        yield Advice(
            layer.name, "the layers of a SavedModel cannot be checked", "give the model as a .keras file", maps=False
        )


def _dilated(layer: Any) -> Iterator[Advice]:
    if _is(layer, "DepthwiseConv2D") and max(layer.dilation_rate) > 1:
        yield Advice(layer.name, "a dilated depthwise convolution is slow on Arm", "use a 5x5 kernel")


def _large_kernel(layer: Any) -> Iterator[Advice]:
    is_full = _is(layer, "Conv2D") and not _is(layer, "DepthwiseConv2D")
    if is_full and min(layer.kernel_size) > 1 and layer.kernel.shape[2] >= 256:
        yield Advice(
            layer.name,
            f"a full convolution over {layer.kernel.shape[2]} channels is slow",
            "use SeparableConv2D, which needs about a ninth of the multiplications",
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


def _network_rules(network: Any, device: str) -> Iterator[Advice]:
    """Yield the problems with the network as a whole."""
    weights = network.count_params()
    if device == "coral" and weights > TPU_CACHE:
        yield Advice(
            network.name,
            f"it has {weights / 2**20:.1f} MiB of int8 weights, of which 8 MiB stay on the chip; the rest is sent for "
            "every frame",
            "use a smaller network",
        )
    if device == "coral" and any(None in tensor.shape[1:] for tensor in network.inputs):
        yield Advice(network.name, "its input has no fixed size", "give keras.Input a fixed shape", maps=False)
    count = multiplications(network)
    if device == "pi4" and count > PI4_MACS:
        yield Advice(
            network.name,
            f"an inference takes {count / 1e9:.1f} billion multiplications",
            "use a smaller input, or the model mobilenet",
        )


def multiplications(network: Any) -> int:
    """Return the number of multiplications in the convolutions and dense layers, for one sample."""
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
    return math.prod(int(length or 1) for length in layer.output.shape[1:])


def _flat(network: Any) -> Iterator[Any]:
    """Yield all layers and operations, including those of nested models and wrappers."""
    for layer in getattr(network, "operations", network.layers):
        if hasattr(layer, "layers"):
            yield from _flat(layer)
        else:
            yield layer
            if hasattr(layer, "layer"):
                yield layer.layer


def _is(layer: Any, *names: str) -> bool:
    """Return True if the layer's class or one of its base classes has one of the names."""
    return any(cls.__name__ in names for cls in type(layer).__mro__)

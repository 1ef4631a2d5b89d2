"""Predict which operators of a `.tflite` file Coral's Edge TPU would run, without Coral's compiler.

The compiler is closed, x86-64 only, and was last released in 2021. Its rules are in Coral's documentation, "TensorFlow
models on the Edge TPU" (model requirements, supported operations). The comment of each rule names the published logs
and compiled models that settle open points. If the compiler is on PATH, `orilla edgetpu` runs it instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orilla.devices.errors import DataError
from orilla.export.edgetpu.rules import refusal
from orilla.runtime.tflite.graph import Operator, Tensor, read_operators

MAPPED = "Mapped to Edge TPU"
BEHIND = "More than one subgraph is not supported"

CACHE_BYTES = int(7.7 * (1 << 20))
"""Bytes of parameters that stay on the chip, according to the compiler's logs. Source: Coral's documentation, "Edge TPU
Compiler: parameter data caching" (8 MB), minus the program."""

USB3_BYTES_PER_S = 450e6
"""Rate at which other parameters are sent for each inference. Source: Coral's benchmarks, VGG16: 138 MB in 296 ms, of
which little is computation."""

ODD = (IndexError, AttributeError, TypeError, ValueError, KeyError, ZeroDivisionError)
"""Errors that reading an operator raises if its inputs, outputs or options do not fit its kind."""

LARGE_ACTIVATION = 12 << 20
"""Size of one tensor at which the compiler is likely to fail, bytes. Source: google-coral/edgetpu issue 60: a 512x512
tensor of 64 channels fails, one of 32 does not."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One operator and the place where it runs."""

    operator: Operator
    status: str
    """`MAPPED`, or the compiler's reason."""
    reason: str
    """Property of this operator that causes the reason; empty if it is mapped."""
    instead: str
    """Alternative that would map."""

    @property
    def mapped(self) -> bool:
        """Return True if the Edge TPU runs the operator."""
        return self.status == MAPPED


@dataclass(frozen=True, slots=True)
class Mapping:
    """Predicted output of the compiler."""

    placed: tuple[Placed, ...]
    parameter_bytes: int
    """Parameters of the mapped operators, bytes."""
    cached_bytes: int
    largest_activation: int
    """Size of the largest tensor that a mapped operator reads or writes, bytes."""
    cut_at: int
    """Index of the first rejected operator; the number of operators if none is rejected."""

    @property
    def cpu_ops(self) -> list[str]:
        """Return the names of the operators on the CPU, in graph order."""
        return [placement.operator.name for placement in self.placed if not placement.mapped]

    @property
    def cut_ops(self) -> list[str]:
        """Return the operators on the CPU if the graph were cut at the first rejected operator."""
        return [
            placement.operator.name
            for index, placement in enumerate(self.placed)
            if not placement.mapped or index > self.cut_at
        ]

    @property
    def streamed_bytes(self) -> int:
        """Return the parameters that are sent for each inference, bytes."""
        return self.parameter_bytes - self.cached_bytes

    @property
    def streaming_ms(self) -> float:
        """Return the transfer time of these parameters over USB 3, milliseconds."""
        return 1e3 * self.streamed_bytes / USB3_BYTES_PER_S

    @property
    def likely_fails(self) -> bool:
        """Return True if an activation is so large that the compiler may fail."""
        return self.largest_activation > LARGE_ACTIVATION


def predict(data: bytes, name: str = "the model") -> Mapping:
    """Predict the mapping of a `.tflite` file.

    Raises:
        DataError: The file is not a `.tflite` file.
    """
    return mapping_of(read_operators(data, name))


def mapping_of(operators: Iterable[Operator]) -> Mapping:
    """Place each operator. It is mapped if it is supported and depends on no rejected operator.

    The compiler is a delegate of TensorFlow Lite. The delegate partitions a graph by dependencies, and only the first
    part that it accepts becomes a subgraph (issues 433 and 461 of google-coral/edgetpu). Coral's documentation
    describes a simpler cut at the first rejected operator; `Mapping.cut_ops` has that result. A quantisation of float
    inputs is rejected, but operators behind it may map (logs of models with float inputs).
    """
    placed: list[Placed] = []
    computed: set[Tensor] = set()
    behind: set[Tensor] = set()
    operators = tuple(operators)
    cut_at = len(operators)
    for operator in operators:
        try:
            rejection = refusal(operator)
        except ODD as error:
            msg = f"operator {len(placed)}, {operator.name}, is damaged: {error}"
            raise DataError(msg) from error
        depends = any(tensor in behind for tensor in operator.activations)
        if rejection:
            placed.append(Placed(operator, *rejection))
        elif depends:
            placed.append(Placed(operator, BEHIND, "it depends on an operator that is not mapped", ""))
        else:
            placed.append(Placed(operator, MAPPED, "", ""))
        if depends or (rejection and not _feeds_in(operator, computed)):
            behind.update(operator.outputs)
            cut_at = min(cut_at, len(placed) - 1)
        computed.update(operator.outputs)
    mapped = [placement.operator for placement in placed if placement.mapped]
    parameters = sum(tensor.bytes for operator in mapped for tensor in operator.parameters)
    activations = [tensor.bytes for operator in mapped for tensor in (*operator.activations, *operator.outputs)]
    return Mapping(tuple(placed), parameters, min(parameters, CACHE_BYTES), max(activations, default=0), cut_at)


def _feeds_in(operator: Operator, computed: set[Tensor]) -> bool:
    """Return True if an operator only quantises one of the model's float inputs."""
    return operator.name == "QUANTIZE" and not any(tensor in computed for tensor in operator.activations)

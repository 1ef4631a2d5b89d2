"""Predict which operators of a `.tflite` file Coral's Edge TPU would run, without Coral's compiler.

The compiler is closed source, runs only on x86-64, and was last released in 2021. Its rules are described in Coral's
documentation, "TensorFlow models on the Edge TPU" (model requirements, supported operations). Where the documentation
is incomplete, the rules follow published logs and compiled models. If the compiler is on PATH, `orilla edgetpu` runs
it instead of this prediction.
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
"""Number of bytes of parameters that fit on the chip, according to the compiler's logs.

The chip has 8 MB, part of which is used by the program. Source: Coral's documentation, "Edge TPU Compiler: parameter
data caching".
"""

USB3_BYTES_PER_S = 450e6
"""Rate, in bytes per second, at which the parameters that do not fit on the chip are sent for each inference.

Source: Coral's benchmarks. An inference of VGG16 sends 138 MB and takes 296 ms, most of which is the transfer.
"""

ODD = (IndexError, AttributeError, TypeError, ValueError, KeyError, ZeroDivisionError)
"""Exceptions that a rule raises if the inputs, outputs or options are not those of this type of operator."""

LARGE_ACTIVATION = 12 << 20
"""Size of a tensor, in bytes, above which the compiler is likely to fail.

Source: google-coral/edgetpu issue 60. A 512x512 tensor with 64 channels fails, and one with 32 channels does not.
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """An operator, and whether the Edge TPU or the CPU runs it."""

    operator: Operator
    status: str
    """`MAPPED`, or the reason for the rejection in the compiler's words."""
    reason: str
    """Property of the operator that prevents the mapping. Empty if the operator is mapped."""
    instead: str
    """Alternative that would be mapped. Empty if there is none."""

    @property
    def mapped(self) -> bool:
        """Return True if the Edge TPU runs the operator."""
        return self.status == MAPPED


@dataclass(frozen=True, slots=True)
class Mapping:
    """Predicted result of the compiler."""

    placed: tuple[Placed, ...]
    parameter_bytes: int
    """Total size in bytes of the parameters in all mapped operators."""
    cached_bytes: int
    largest_activation: int
    """Size of the largest tensor that a mapped operator reads or writes, in bytes."""
    cut_at: int
    """Index of the first rejected operator, or the number of operators if none is rejected."""

    @property
    def cpu_ops(self) -> list[str]:
        """Return the names of the operators that run on the CPU, in graph order."""
        return [placement.operator.name for placement in self.placed if not placement.mapped]

    @property
    def cut_ops(self) -> list[str]:
        """Return the names of the operators on the CPU if the graph were split at the first rejected operator."""
        return [
            placement.operator.name
            for index, placement in enumerate(self.placed)
            if not placement.mapped or index > self.cut_at
        ]

    @property
    def streamed_bytes(self) -> int:
        """Return the number of bytes of parameters that are sent for each inference."""
        return self.parameter_bytes - self.cached_bytes

    @property
    def streaming_ms(self) -> float:
        """Return the time to send the streamed parameters over USB 3, in milliseconds."""
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
    """Predict for each operator whether the compiler maps it.

    An operator is mapped if it is supported and does not depend on a rejected operator. The compiler is a delegate of
    TensorFlow Lite. The delegate partitions a graph by dependencies, and only the first part that it accepts becomes a
    subgraph (issues 433 and 461 of google-coral/edgetpu). Coral's documentation describes a simpler rule: the graph is
    split at the first rejected operator. `Mapping.cut_ops` gives the result of this rule.

    An operator that quantises a float input of the model is rejected, but operators that depend on it may be mapped.
    The compiler's logs of models with float inputs show this.
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

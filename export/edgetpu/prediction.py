"""Which operators of a `.tflite` file Coral's Edge TPU would run, and why not the others; without its compiler.

The compiler is closed, x86-64 only, and was last released in 2021. Its rules are Coral's documentation, "TensorFlow
models on the Edge TPU" (model requirements, supported operations); what that leaves open is read off published logs
and compiled models, and said beside each rule. Where the compiler is on PATH, it is asked instead: `edgetpu_compiler`.
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
"""Of parameters that stay on the chip, as the compiler's logs show it. Source: Coral's documentation, "Edge TPU
Compiler: parameter data caching" (8 MB), less what the program takes."""

USB3_BYTES_PER_S = 450e6
"""At which parameters that don't stay are sent for each inference. Source: Coral's benchmarks, VGG16: 138 MB in 296 ms
of which little is computing."""

ODD = (IndexError, AttributeError, TypeError, ValueError, KeyError, ZeroDivisionError)
"""What reading an operator raises that lacks inputs, outputs or options, or has others than its kind."""

LARGE_ACTIVATION = 12 << 20
"""Bytes of one tensor that the compiler is likely to give up at. Source: google-coral/edgetpu issue 60: a 512x512
tensor of 64 channels fails, one of 32 does not."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One operator and where it runs."""

    operator: Operator
    status: str
    """`MAPPED`, or the compiler's words for why not."""
    reason: str
    """What in this operator it is; empty where it is mapped."""
    instead: str
    """What would map."""

    @property
    def mapped(self) -> bool:
        return self.status == MAPPED


@dataclass(frozen=True, slots=True)
class Mapping:
    """What the compiler would make of a file."""

    placed: tuple[Placed, ...]
    parameter_bytes: int
    """Of the mapped operators."""
    cached_bytes: int
    largest_activation: int
    """Bytes of the largest tensor that a mapped operator reads or writes."""
    cut_at: int
    """Place of the first operator that is refused; behind the last where none is."""

    @property
    def cpu_ops(self) -> list[str]:
        """Operators left on the CPU, by name, in the order of the graph."""
        return [one.operator.name for one in self.placed if not one.mapped]

    @property
    def cut_ops(self) -> list[str]:
        """What would be left if the graph were cut at the first operator that is refused, whatever depends on it."""
        return [one.operator.name for place, one in enumerate(self.placed) if not one.mapped or place > self.cut_at]

    @property
    def streamed_bytes(self) -> int:
        """Sent to the device for each inference."""
        return self.parameter_bytes - self.cached_bytes

    @property
    def streaming_ms(self) -> float:
        """What that takes over USB 3."""
        return 1e3 * self.streamed_bytes / USB3_BYTES_PER_S

    @property
    def likely_fails(self) -> bool:
        """Whether an activation is so large that the compiler may give up."""
        return self.largest_activation > LARGE_ACTIVATION


def predict(data: bytes, name: str = "the model") -> Mapping:
    """Predicts the mapping of a `.tflite` file.

    Raises:
        DataError: it is no such file.
    """
    return mapping_of(read_operators(data, name))


def mapping_of(operators: Iterable[Operator]) -> Mapping:
    """Places each operator: it is mapped where it is supported and nothing that it needs was refused before.

    The compiler is a delegate of TensorFlow Lite, which divides a graph by what depends on what; only the first part
    that it takes becomes a subgraph (issues 433 and 461 of google-coral/edgetpu). Coral's documentation puts it
    simpler, as a cut at the first operator that is refused: `Mapping.cut_ops` says what would be left by that. A
    quantisation of float inputs is refused and leaves nothing behind it (logs of models with float inputs).
    """
    placed: list[Placed] = []
    made: set[Tensor] = set()
    behind: set[Tensor] = set()
    operators = tuple(operators)
    cut_at = len(operators)
    for operator in operators:
        try:
            found = refusal(operator)
        except ODD as error:
            msg = f"operator {len(placed)}, {operator.name}, is damaged: {error}"
            raise DataError(msg) from error
        late = any(tensor in behind for tensor in operator.given)
        if found:
            placed.append(Placed(operator, *found))
        elif late:
            placed.append(Placed(operator, BEHIND, "it needs what is not mapped", ""))
        else:
            placed.append(Placed(operator, MAPPED, "", ""))
        if late or (found and not _feeds_in(operator, made)):
            behind.update(operator.outputs)
            cut_at = min(cut_at, len(placed) - 1)
        made.update(operator.outputs)
    mapped = [one.operator for one in placed if one.mapped]
    parameters = sum(tensor.bytes for operator in mapped for tensor in operator.parameters)
    activations = [tensor.bytes for operator in mapped for tensor in (*operator.given, *operator.outputs)]
    return Mapping(tuple(placed), parameters, min(parameters, CACHE_BYTES), max(activations, default=0), cut_at)


def _feeds_in(operator: Operator, made: set[Tensor]) -> bool:
    """Whether an operator only brings one of the model's float inputs into bytes."""
    return operator.name == "QUANTIZE" and not any(tensor in made for tensor in operator.given)

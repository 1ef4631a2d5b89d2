"""Divide a network into blocks. A block is an operator with weights and the following operators without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of a model file."""

    key: str
    """Name by which the quantiser knows the operator."""
    reads: tuple[str, ...]
    """Names of the computed tensors that the operator reads."""
    outputs: tuple[str, ...]
    weighted: bool
    """True if the operator has weights."""


@dataclass(frozen=True, slots=True)
class Block:
    """Operators that are quantised or kept in float together."""

    name: str
    """Name of the first operator's output."""
    keys: tuple[str, ...]


def blocks(nodes: Sequence[Node]) -> list[Block]:
    """Divide the operators of a network into blocks.

    An operator without weights, such as an activation function, belongs to the block that computes the last of its
    inputs. A tensor between two blocks is quantised if one of the two blocks is quantised.

    Args:
        nodes: Operators in the order of their execution.
    """
    found: list[list[Node]] = []
    block_of: dict[str, int] = {}
    for node in nodes:
        before = [block_of[name] for name in node.reads if name in block_of]
        if node.weighted or not before:
            found.append([])
            place = len(found) - 1
        else:
            place = max(before)
        found[place].append(node)
        block_of.update(dict.fromkeys(node.outputs, place))
    return [Block(members[0].outputs[0], tuple(node.key for node in members)) for members in found]

"""Short names of tensors for people."""

from __future__ import annotations

PARTS = 2
"""Number of parts of a path that remain: the name of the layer and that of its operation."""


def short_name(tensor: str) -> str:
    """Return a short name of a tensor, such as `conv_1/Relu`.

    The converter of LiteRT joins the names of operations that it fuses, each with the names of the models around it.
    """
    return "/".join(tensor.partition(";")[0].split("/")[-PARTS:])

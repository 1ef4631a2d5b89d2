"""Short, human-readable tensor names."""

from __future__ import annotations

PARTS = 2
"""Number of path parts that a short name keeps: the layer and its operation."""

INSIDE = ("batchnorm",)
"""Parts that Keras adds between the names of the layer and of the operation."""


def short_name(tensor: str) -> str:
    """Return a short name of a tensor, such as `conv_1/Relu`.

    The converter of LiteRT joins the names of operations that it fuses, each with the names of the models around it.
    """
    parts = [part for part in tensor.partition(";")[0].split("/") if part not in INSIDE]
    return "/".join(parts[-PARTS:])

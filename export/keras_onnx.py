"""Keras to a float ONNX file."""

from __future__ import annotations

OPSET = 17
"""Old enough for the ONNX Runtime builds of small boards, new enough for per-channel QDQ (13)."""


def convert(model: str, out: str) -> None:
    """Writes `out` (`.onnx`, float32, input `[1,H,W,C]`) from the Keras file `model`."""
    import tf2onnx

    from orilla.export.frozen import freeze, load

    module = freeze(load(model))
    tf2onnx.convert.from_function(
        module.call, input_signature=module.call.input_signature, opset=OPSET, output_path=out
    )

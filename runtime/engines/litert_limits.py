"""Find operators that LiteRT computes correctly only under certain conditions, and the causes in its error messages."""

from __future__ import annotations

import re
from collections.abc import Collection

POST_PROCESS = "TFLite_Detection_PostProcess"
"""Operator that removes overlapping boxes of a detector."""

KEEPS_STATE = (
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "LSTM",
    "RNN",
    "SVDF",
)
"""Operators that keep a state between inferences. The state must be cleared before each independent sample."""


def needs_one_thread(data: bytes, operators: Collection[str]) -> bool:
    """Return True if LiteRT computes a model correctly only with one thread.

    With the option `use_regular_nms`, the operator `TFLite_Detection_PostProcess` divides the classes among threads.
    With more than one thread, it then drops boxes and writes outside its memory: `python tests/perf/nms_threads.py`
    shows both for ai-edge-litert 2.3.0.

    Args:
        data: Content of the `.tflite` file.
        operators: Names of its operators.
    """
    if POST_PROCESS not in operators:
        return False
    try:
        from ai_edge_litert import schema_py_generated as schema
        from flatbuffers import flexbuffers
    except ImportError:
        return True  # If the options cannot be read, use one thread, which is slower but always correct.
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    tables = (
        operator
        for graph in model.subgraphs
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].customCode == POST_PROCESS.encode()
    )
    return any(
        bool(flexbuffers.Loads(bytes(bytearray(table.customOptions))).get("use_regular_nms", False)) for table in tables
    )


def cause(error: Exception) -> str:
    """Return the cause in a LiteRT error message, as one line that names the operator."""
    text = " ".join(str(error).split()) or type(error).__name__
    old = re.search(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", text)
    if old is not None:
        return (
            f"it has no version {old[2]} of the operator {old[1]}: update it, or convert the model with an older "
            "version of TensorFlow"
        )
    node = re.search(r"Node number (\d+) \((\w+)\) failed to \w+\.?", text)
    text = text[: node.start()] if node is not None else text
    text = re.sub(r"^\S+\.(?:cc|h|cpp):\d+ ", "", text).strip().rstrip(".")
    return f"operator {node[1]}, {node[2]}: {text}" if node is not None else text

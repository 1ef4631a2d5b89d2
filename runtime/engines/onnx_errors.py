"""Find the cause in ONNX Runtime's error messages.

The messages begin with codes, file names and function signatures.
"""

from __future__ import annotations

import re

PREFIXES = (
    r"\[ONNXRuntimeError\] : \d+ : \w+ : ",
    r"Load model from .*? failed:\s*",
    r"(?:Exception during initialization|Fatal error): ",
    r"\S+\.(?:cc|h|cpp):\d+ .*?\) (?=[A-Z])",
    r"\S+\.(?:cc|h|cpp):\d+ \S+ (?=\S)",
    r"(?:This is an invalid model\.|Invalid model\.) ",
    r"(?:Type Error|Error): ",
    r"In Node, .*?, Error ",
    r"Non-zero status code returned while running (?P<operator>.*?) Status Message: ",
)
"""Patterns for the parts of a message before the cause."""

CAUSES = (
    (r"Node \((.*?)\)\s+Op \((\w+)\) \[\w+\] (.*)", r"operator \2 \1: \3"),
    (r"No Op registered for (\S+) with domain_version of (\d+)", r"it has no operator \1 in version \2 of the set"),
    (r"(?P<name>[\w.]+:\w+)\(-?\d+\) is not a registered function/op", r"it has no operator \g<name>"),
    (
        r".*Opset (\d+) is under development.*domain ([\w.]+) is till opset (\d+).*",
        r"the file uses version \1 of the operator set \2, but it supports versions up to \3: update onnxruntime, or "
        r"export the model with opset_version=\3",
    ),
    (
        r".*Unsupported model IR version: (\d+), max supported IR version: (\d+).*",
        r"the file has version \1 of the file format, but it reads versions up to \2: update onnxruntime, or set "
        r"model.ir_version to \2",
    ),
)
"""Patterns of causes, and their wording in Orilla's messages, in which `it` refers to ONNX Runtime."""


def cause(error: Exception) -> str:
    """Return the cause in the message of an ONNX Runtime exception, as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    where = ""
    for pattern in PREFIXES:
        match = re.match(pattern, text)
        if match is not None:
            where = match.groupdict().get("operator") or where
            text = text[match.end() :]
    for pattern, replacement in CAUSES:
        if (match := re.search(pattern, text)) is not None:
            return " ".join(match.expand(replacement).split()).replace(" :", ":")
    operator = re.sub(r" node\. Name:'(.*?)'", r" \1", where)
    return f"{operator}: {text}" if operator else text

"""Extract the cause, as one line, from the message of an exception that a converter raised."""

from __future__ import annotations

import re

MAX_LENGTH = 2000
"""Maximum length of a cause in characters. A cause may list all layers that cannot be read."""

INTRODUCTIONS = (
    r"Exception encountered",
    r"Graph execution error",
    r"Detected at node",
    r"Traceback",
    r"File \"",
    r"Arguments received by",
    r".*:$",
)
"""Patterns of lines that only introduce the cause."""

CAUSES = (
    (r"TF Select ops: ([^\n]+)", r"LiteRT has no operator for \1: replace the layer, or compute it outside the model"),
    (r"Custom ops: ([^\n]+)", r"LiteRT has no operator for \1: replace the layer, or compute it outside the model"),
    (r"Tensorflow op \[([^]:]+): ([^]]+)\] is not supported", r"ONNX has no operator for \2 (\1)"),
    (r"(?:^|\n)[^\n]*error: (?:loc\([^\n]*\): )?([^\n]+)", r"\1"),
)
"""Patterns that find the cause inside a long message, each with the replacement text to report."""


def reason(error: Exception) -> str:
    """Return the type and the cause of an exception, or only its message if Orilla's own code raised it."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    if isinstance(error, MemoryError) or any(sign in text for sign in ("bad_alloc", "RESOURCE_EXHAUSTED", "OOM when")):
        return "out of memory"
    if _is_own(error):
        return " ".join(text.split())
    return f"{type(error).__name__}: {_cause(text)}"[:MAX_LENGTH]


def _cause(text: str) -> str:
    for pattern, replacement in CAUSES:
        if (match := re.search(pattern, text)) is not None:
            return " ".join(match.expand(replacement).split())
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    plain = [line for line in lines if not any(re.match(pattern, line) for pattern in INTRODUCTIONS)]
    return next(iter(plain or lines), "no reason given")


def _is_own(error: Exception) -> bool:
    """Return True if Orilla's own code raised the exception, so its message already states the whole cause."""
    trace = error.__traceback__
    if type(error) is not ValueError and not type(error).__module__.startswith("orilla"):
        return False
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("orilla.")

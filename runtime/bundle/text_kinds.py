"""Recognise text files: models in a text format, and web pages that a failed download saved instead of a model."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path

from orilla.runtime.bundle.file_kind import FileKind, kind_of

MAX_JSON_BYTES = 64 << 20
"""Maximum size of a JSON file that is read to recognise it, in bytes."""

SHOWN = 40
"""Maximum length of a quoted text in a message, in characters."""


def of_text(path: Path, head: bytes) -> FileKind | None:
    """Return the kind of a text file: a model in a text format, or a web page from a failed download."""
    try:
        # This decoder accepts an incomplete character at the end.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head).strip()
    except UnicodeDecodeError:
        return None
    if re.search(r"[\0-\x08\x0e-\x1f]", text):
        return None
    lower = text[:1000].lower()
    if "<html" in lower or lower.startswith("<!doctype html"):
        advice = (
            "download the file itself: on GitHub, use the link `Raw`; "
            "on Hugging Face, replace `blob` with `resolve` in the link"
        )
        return kind_of("an HTML page, probably from a failed download", advice, unusable=True)
    if lower.startswith(("<?xml", "<net", "<error")):
        return _xml(text)
    if lower.startswith("{"):
        return _json(path)
    return _other_text(path, text)


def _xml(text: str) -> FileKind:
    root = re.search(r"<([A-Za-z][\w.-]*)", text)
    if root is not None and root[1] == "net":
        return kind_of("the graph of an OpenVINO model", "original")
    if root is not None and root[1].lower() == "error":
        return kind_of("the error message of a server, as a failed download leaves it", "again", unusable=True)
    return kind_of("an XML text", unusable=True)


def _json(path: Path) -> FileKind:
    if path.stat().st_size > MAX_JSON_BYTES:
        return kind_of("a JSON text")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return kind_of("a text", unusable=True)
    keys = set(document)
    if keys & {"modelTopology", "weightsManifest"}:
        return kind_of("a TensorFlow.js model", "tensorflow_js")
    if {"class_name", "config"} <= keys:
        return kind_of("the architecture of a Keras model without its weights", "checkpoint")
    if keys & {"learner", "tree_info"}:
        return kind_of("a model of decision trees", "trees")
    if keys <= {"message", "error", "errors", "documentation_url", "status", "code", "detail", "details"}:
        return kind_of("the error message of a server, as a failed download leaves it", "again", unusable=True)
    return kind_of("a JSON text")


def _other_text(path: Path, text: str) -> FileKind | None:
    if re.search(r"^layers? *\{|^input_(dim|shape)", text, re.MULTILINE):
        return kind_of("the graph of a Caffe model without its weights", "original")
    if text.startswith("model_checkpoint_path"):
        return kind_of("the index of a TensorFlow checkpoint with weights only", "checkpoint")
    if re.match(r"node *\{", text):
        return kind_of("a TensorFlow graph as text", "tensorflow")
    if text.startswith("tree\n"):
        return kind_of("a model of decision trees", "trees")
    if path.suffix == ".py":
        return kind_of("a Python program", "name a PyTorch network in it as MODULE:OBJECT, or save its Keras model")
    first = text.splitlines()[0] if text else ""
    shown = first[:SHOWN] + ("..." if len(first) > SHOWN else "")
    return kind_of(f"a text that begins with {shown!r}", "again", unusable=True)

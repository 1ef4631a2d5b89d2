"""Validation of JSON documents with the schemas of `orilla --schema`."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import msgspec

from orilla.runtime.cli import schema_of


def errors(name: str, document: object) -> list[str]:
    """Return the errors of a document of a kind: wrong and missing values, and keys that its schema lacks."""
    document = msgspec.json.decode(msgspec.json.encode(document))
    return [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(document)]


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(msgspec.json.encode(schema_of([name])))
    jsonschema.Draft202012Validator.check_schema(schema)
    for component in schema["$defs"].values():
        _close(component)
    return jsonschema.Draft202012Validator(schema)


def _close(component: dict[str, Any]) -> None:
    """Reject keys that a schema does not name. The schemas allow them, because later versions may add keys."""
    if "properties" in component:
        # In a cascade, each part is an answer with a box.
        component["properties"].setdefault("box_xyxy", True)
        component["additionalProperties"] = False

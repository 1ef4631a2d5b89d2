"""JSON Schema (2020-12) of what commands print with `--json`, of the lines of the sink `jsonl`, and of events.

The schemas are built from the types of the results, so there is no second description of the documents.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from orilla.runtime.commands.result import CommandResult
from orilla.runtime.commands.type_docs import field_docs, load_guarded_names

DIALECT = "https://json-schema.org/draft/2020-12/schema"

REFERENCE = "#/$defs/{name}"
"""Form of a reference to another type in the same schema."""

Schema = dict[str, Any]


def document_types() -> dict[str, Any]:
    """Return the types of the documents that are not results of a command, by name: `line` and `event`."""
    from orilla.runtime.frame import Event, TickDocument

    return {"line": TickDocument, "event": Event}


def result_types(execute: Callable[..., Any]) -> list[Any]:
    """Return the types of a command's documents, from the return type of its function `execute`."""
    load_guarded_names(execute)
    results = _alternatives(get_type_hints(execute)["return"])
    return [kind for result in results for concrete in _concrete(result) for kind in _documents_of(concrete)]


def schema_of(documents: Mapping[str, list[Any]]) -> Schema:
    """Return the schema of several documents.

    Args:
        documents: Types that each document may have, by the name of the document. `$defs` of the schema contains the
            documents by these names, so that a program can validate a document of one kind.
    """
    schemas, components = _schemas(documents)
    named = {name: {"title": name, **body} for name, body in zip(documents, schemas, strict=True)}
    if len(named) == 1:
        (only,) = named.values()
        return {"$schema": DIALECT, **only, "$defs": components}
    return {
        "$schema": DIALECT,
        "title": "JSON documents of Orilla",
        "anyOf": [{"$ref": REFERENCE.format(name=name)} for name in named],
        "$defs": components | named,
    }


def _schemas(documents: Mapping[str, list[Any]]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return the schema of each document, and of the types that they refer to."""
    from orilla.runtime.tasks.documents import ANSWER_SCHEMA

    answers = list(_answer_types()) if "line" in documents else []
    kinds = [*(kind for kinds in documents.values() for kind in kinds), *answers]
    classes = {kind.__name__: kind for one in kinds for kind in load_guarded_names(one)}
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_schema_of_class, ref_template=REFERENCE)
    remaining = iter(schemas)
    named = [_any_of([next(remaining) for _ in kinds]) for kinds in documents.values()]
    if answers:
        components[ANSWER_SCHEMA] = _any_of(list(remaining))
    for name, component in components.items():
        if name in classes:
            _describe(component, classes[name])
    return named, components


def _schema_of_class(kind: type) -> Schema:
    """Return the schema of a class that msgspec does not know. `object` means any value."""
    if kind is object:
        return {}
    raise NotImplementedError


def _any_of(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _describe(component: Schema, kind: type) -> None:
    """Add the documentation of a class's fields to its schema."""
    for name, text in field_docs(kind).items():
        if name in component.get("properties", {}):
            component["properties"][name]["description"] = text


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    return tuple(get_args(kind)) if get_origin(kind) is not Literal and get_args(kind) else (kind,)


def _concrete(result: type[CommandResult]) -> Iterator[type[CommandResult]]:
    """Yield a class of results, or its subclasses if it is abstract."""
    if not result.__abstractmethods__:
        yield result
    for subclass in result.__subclasses__():
        # A dataclass with slots replaces the original class, but the original class may still be in memory.
        if getattr(sys.modules[subclass.__module__], subclass.__name__, None) is subclass:
            yield from _concrete(subclass)


@cache
def _documents_of(result: type[CommandResult]) -> Iterable[Any]:
    """Return the types of the documents that a result prints."""
    if result.to_json is not CommandResult.to_json:
        load_guarded_names(result.to_json)
        return _alternatives(get_type_hints(result.to_json)["return"])
    load_guarded_names(result)
    hints = get_type_hints(result)
    keys: list[Any] = [(name, Literal[value]) for name, value in result.constants.items()]
    for field in fields(result):  # type: ignore[arg-type]
        if field.name == result.inlined:
            load_guarded_names(hints[field.name])
            keys += get_type_hints(hints[field.name]).items()
        elif field.name in result.optional:
            keys.append((field.name, hints[field.name] | msgspec.UnsetType, msgspec.UNSET))
        elif field.name not in result.hidden:
            keys.append((field.name, hints[field.name]))
    document = msgspec.defstruct(result.__name__, keys, kw_only=True, module=result.__module__)
    document.__doc__ = result.__doc__
    return [document]


def _answer_types() -> Iterator[Any]:
    """Yield the document types of all answers.

    They are the answers of the installed tasks, of tracked objects, of several models and of cascades.
    """
    from orilla.runtime.frame import Answers, CascadeResult
    from orilla.runtime.tasks.registry import TASKS, task_of
    from orilla.runtime.tracking.result import TrackedDetection

    answers: list[Any] = [TrackedDetection, Answers, CascadeResult]
    for name in TASKS:
        decode = type(task_of(name)).decode
        load_guarded_names(decode)
        answers += _alternatives(get_type_hints(decode)["return"])
    for answer in dict.fromkeys(answers):
        load_guarded_names(answer.to_dict)
        yield get_type_hints(answer.to_dict)["return"]

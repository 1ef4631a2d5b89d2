"""Read from source files what Python does not keep at run time: the documentation of fields and the names of types."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, get_args, get_type_hints, is_typeddict

import msgspec


@cache
def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def load_guarded_names(kind: type | Callable[..., Any]) -> list[type]:
    """Import the names that annotations need, but that their module imports only for type checkers.

    A command imports few modules, so that it starts quickly. The modules of its result import the types of the fields
    under `if TYPE_CHECKING:`.

    Args:
        kind: A class with fields, or a function. The types of the fields are also searched.

    Returns:
        The classes with fields that were found.
    """
    found: dict[Any, None] = {}
    waiting: list[Any] = [kind]
    while waiting:
        one = waiting.pop()
        waiting += get_args(one)
        if one in found or not (_has_fields(one) or inspect.isfunction(one)):
            continue
        found[one] = None
        for owner in one.__mro__ if isinstance(one, type) else [one]:
            if owner.__module__ in sys.modules:
                _import_guarded(sys.modules[owner.__module__], inspect.get_annotations(owner).values())
        waiting += get_type_hints(one).values()
    return [one for one in found if isinstance(one, type)]


def field_docs(kind: type) -> dict[str, str]:
    """Return the documentation below each field of a class and of its base classes. The keys are the fields."""
    module = sys.modules[kind.__module__]
    nodes = ast.walk(_tree(module)) if _is_written_in_python(module) else ()
    node = next((node for node in nodes if isinstance(node, ast.ClassDef) and node.name == kind.__name__), None)
    if node is None:
        return {}
    docs: dict[str, str] = {}
    # The bases of a TypedDict are known only from its source.
    for base in node.bases:
        owner = vars(module).get(base.id) if isinstance(base, ast.Name) else None
        docs |= field_docs(owner) if isinstance(owner, type) else {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and (text := _text(below)):
            docs[field.target.id] = " ".join(text.split())
    return docs


def _is_written_in_python(module: ModuleType) -> bool:
    return str(getattr(module, "__file__", "")).endswith(".py")


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        dataclasses.is_dataclass(kind) or is_typeddict(kind) or issubclass(kind, (msgspec.Struct, tuple))
    )


def _text(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def _import_guarded(module: ModuleType, annotations: Any) -> None:
    # A TypedDict wraps its annotations in references.
    texts = [getattr(annotation, "__forward_arg__", annotation) for annotation in annotations]
    texts = [text for text in texts if isinstance(text, str)]
    names = {node.id for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    missing = {name for name in names if name not in vars(module)}
    for node in ast.walk(_tree(module)) if missing else ():
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.body:
                if isinstance(statement, ast.ImportFrom) and statement.module is not None:
                    _import_names(module, statement, missing)


def _import_names(module: ModuleType, statement: ast.ImportFrom, names: set[str]) -> None:
    for alias in statement.names:
        name = alias.asname or alias.name
        if name in names:
            source = import_module(str(statement.module))
            member = getattr(source, alias.name, None)
            vars(module)[name] = import_module(f"{statement.module}.{alias.name}") if member is None else member

"""The error classes and their messages."""

import inspect

import pytest

from orilla.devices import errors
from orilla.devices.errors import MissingExtraError, OrillaError, unknown_name

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, OrillaError) and kind is not OrillaError
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_builtin_parent_and_a_docstring(kind):
    assert any(parent.__module__ == "builtins" and parent is not Exception for parent in kind.__mro__[1:-3])
    assert kind.__doc__


def test_an_unknown_name_lists_the_known_ones():
    assert str(unknown_name("litert_i8", ["litert_wi8_ai8", "onnx_fp32"], kind="recipe")) == (
        "unknown recipe 'litert_i8': did you mean litert_wi8_ai8? Choose from litert_wi8_ai8, onnx_fp32"
    )


def test_a_missing_extra_gives_the_install_line():
    assert str(MissingExtraError("keras", "train")).endswith('pip install "orilla[train]"')

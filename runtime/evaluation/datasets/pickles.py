"""Read arrays from pickles without running code.

A pickle can call any function. This reader replaces the few names that a pickled NumPy array refers to, and rejects all
others.
"""

from __future__ import annotations

import pickle
from typing import IO, Any


class PickledArray:
    """Replacement for `numpy.ndarray` while unpickling, because an invalid state could make NumPy crash the process."""

    shape: object = None
    """Lengths of the axes."""
    items: object = None
    """List of the elements of an array of objects, or the bytes of another array."""

    @classmethod
    def reconstruct(cls, *_: object) -> PickledArray:
        """Create an empty array, as `numpy.core.multiarray._reconstruct` does."""
        return cls()

    def __setstate__(self, state: tuple[object, ...]) -> None:
        # The state is a tuple of version, shape, type, order and the elements.
        *_, self.items = state
        self.shape = state[1] if len(state) > 1 else None


class _PickledType:
    """Replacement for `numpy.dtype` while unpickling. The readers know the type of the elements."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _encoded(text: object, encoding: object = "latin1") -> bytes:
    """Return bytes that Python 3 stored as characters, because old pickle protocols have no type for bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        msg = "a string of bytes is damaged"
        raise pickle.UnpicklingError(msg)
    return text.encode("latin1")


STAND_INS = {
    ("_codecs", "encode"): _encoded,
    ("numpy.core.multiarray", "_reconstruct"): PickledArray.reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): PickledArray.reconstruct,
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): _PickledType,
}
"""Replacements for the names in a pickled array. Other names are rejected, because a pickle can run code."""


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            msg = f"the file refers to {module}.{name}, which is not part of an array"
            raise pickle.UnpicklingError(msg)
        return STAND_INS[module, name]


def load(stream: IO[bytes], *, encoding: str = "ASCII") -> Any:
    """Return the object in a pickle, with arrays as `PickledArray`.

    `encoding` is the encoding of strings from Python 2.
    """
    return _ArrayUnpickler(stream, encoding=encoding).load()

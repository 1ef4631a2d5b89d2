"""Read arrays from pickles without running code.

A pickle can call any function, and its instructions can crash Python. This reader checks the instructions, replaces the
few names that a pickled NumPy array refers to, and rejects all others.
"""

from __future__ import annotations

import io
import pickle
import re
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


NUMBERS = re.compile(rb"(?:K.|M..|J.{4}|q.|h.|j.{4}|[]()aeN\x88\x89\x94])+", re.DOTALL)
"""Instructions for lists of small numbers, which make up most of a large pickle, and the instruction for an empty
tuple."""

TUPLES = (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)

MAX_TUPLES = 1000
"""Maximum number of tuples. An array needs five."""

FIXED = {
    **dict.fromkeys((pickle.PROTO, pickle.BININT1, pickle.BINPUT, pickle.BINGET), 1),
    **dict.fromkeys((pickle.BININT2,), 2),
    **dict.fromkeys((pickle.BININT, pickle.LONG_BINGET), 4),
    **dict.fromkeys((pickle.FRAME, pickle.BINFLOAT), 8),
    **dict.fromkeys((pickle.MARK, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.LIST), 0),
    **dict.fromkeys((pickle.APPEND, pickle.APPENDS, pickle.SETITEM, pickle.SETITEMS, pickle.NONE), 0),
    **dict.fromkeys((pickle.NEWTRUE, pickle.NEWFALSE, pickle.MEMOIZE, pickle.REDUCE, pickle.BUILD), 0),
    **dict.fromkeys((*TUPLES, pickle.STACK_GLOBAL), 0),
}
"""Allowed instructions with an argument of fixed size, and this size in bytes."""

SIZED = {
    **dict.fromkeys((pickle.SHORT_BINSTRING, pickle.SHORT_BINUNICODE, pickle.SHORT_BINBYTES, pickle.LONG1), 1),
    **dict.fromkeys((pickle.BINSTRING, pickle.BINUNICODE, pickle.BINBYTES), 4),
    **dict.fromkeys((pickle.BINUNICODE8, pickle.BINBYTES8), 8),
}
"""Allowed instructions whose argument begins with its size, and the number of bytes of this size."""


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
    data = stream.read()
    check_opcodes(data)
    return _ArrayUnpickler(io.BytesIO(data), encoding=encoding).load()


def check_opcodes(data: bytes) -> None:
    """Check the instructions of a pickle before Python executes them.

    Pickled arrays and lists need only a few of the instructions. Other instructions, and large numbers of some allowed
    ones, make Python use much memory or crash: a million nested tuples as the key of a dictionary overflow the stack.

    Raises:
        pickle.UnpicklingError: The pickle is not a list or an array.
    """
    at, tuples = 0, 0
    while at < len(data):
        if (numbers := NUMBERS.match(data, at)) is not None:
            at = numbers.end()
            continue
        code = data[at : at + 1]
        if code == pickle.STOP:
            return
        tuples += code in TUPLES
        at = _after(data, at, code)
        if tuples > MAX_TUPLES:
            break
    msg = "it is not a pickled array or list"
    raise pickle.UnpicklingError(msg)


def _after(data: bytes, at: int, code: bytes) -> int:
    """Return the position after an instruction. Raise `pickle.UnpicklingError` if it is not allowed."""
    if code in FIXED:
        return at + 1 + FIXED[code]
    if code == pickle.LONG_BINPUT and int.from_bytes(data[at + 1 : at + 5], "little") <= at:
        # Python allocates memory for all smaller numbers. A number is stored only once, so it is below the position.
        return at + 5
    if code in SIZED:
        start = at + 1 + SIZED[code]
        size = int.from_bytes(data[at + 1 : start], "little")
        if size <= len(data) - start:
            return start + size
    if code == pickle.GLOBAL and (line := data.find(b"\n", at)) > 0 and (end := data.find(b"\n", line + 1)) > 0:
        return end + 1
    msg = f"its instruction {code!r} is not part of an array or list"
    raise pickle.UnpicklingError(msg)

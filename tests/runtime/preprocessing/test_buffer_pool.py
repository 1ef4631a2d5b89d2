"""The buffer pool: reuse of buffers, and its behaviour in interpreters without exact reference counts."""

import sys

import pytest

from orilla.runtime.preprocessing import buffer_pool
from orilla.runtime.preprocessing.buffer_pool import BufferPool

SHAPE = (4, 6, 3)


def test_a_buffer_is_reused_when_nobody_holds_it():
    pool = BufferPool()
    first = pool.take(SHAPE)
    address = first.ctypes.data
    view = first[0]
    del first
    assert pool.take(SHAPE).ctypes.data != address
    del view
    assert address in {pool.take(SHAPE).ctypes.data for _ in range(2)}


def test_without_exact_counts_every_buffer_is_new(monkeypatch):
    """Some interpreters have no reference counts, or update them late. A buffer in use could then look free."""
    monkeypatch.setattr(sys, "getrefcount", lambda _: 1)
    pool = BufferPool(ready=2)
    held = [pool.take(SHAPE) for _ in range(4)]
    assert len({buffer.ctypes.data for buffer in held}) == 4
    assert held[0].shape == SHAPE


@pytest.mark.parametrize(("free", "count"), [(None, 7), (1 << 30, 7), (100 << 20, 1)])
def test_fewer_buffers_are_allocated_in_advance_if_memory_is_short(monkeypatch, free, count):
    monkeypatch.setattr(buffer_pool, "available_bytes", lambda: free)
    pool = BufferPool(ready=7)
    image = pool.take((720, 1280, 3))
    assert image.shape == (720, 1280, 3)
    assert len(pool._buffers) == count

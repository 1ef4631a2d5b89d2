"""Run a `.tflite` file with LiteRT's profiler in a separate process, and print the time of each event.

LiteRT's Python package contains the library with the profiler, but no Python interface to it, so this module calls
the C interface. A library with a different version can crash, so `profile.litert` starts this module as a process.
Source: `litert/c/litert_compiled_model.h`, `litert_profiler.h` and `litert_profiler_event.h`, LiteRT 2.3 (Apache-2.0).
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from orilla.runtime.bench.profile.layer import middle_mean

MARK = "orilla-events "
"""Start of the line with the result. Libraries may print other lines."""

MIN_RUNS, MAX_RUNS, SECONDS = 20, 300, 1.0
"""Minimum and maximum number of inferences, and the time in seconds after which no further inference starts."""

WARM_UP = 5

CPU = 1
"""`kLiteRtHwAcceleratorCpu`."""

WRITE = 1
"""`kLiteRtTensorBufferLockModeWrite`."""

OPERATOR, KERNEL = 2, 8
"""Types of events: an operator that LiteRT runs itself, and a kernel of a delegate. Source: `OPERATOR_INVOKE_EVENT` and
`DELEGATE_PROFILED_OPERATOR_INVOKE_EVENT` in `tflite/core/api/profiler.h`."""

TYPE_BYTES = 256
"""Size of a buffer that is larger than the structure `LiteRtRankedTensorType`."""


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_size_t), ("in_use", ctypes.c_size_t), ("private", ctypes.c_size_t)]


class _Event(ctypes.Structure):
    """`ProfiledEventData`."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("begin_memory", _Memory),
        ("end_memory", _Memory),
        ("index", ctypes.c_uint64),
        ("subgraph", ctypes.c_uint64),
        ("source", ctypes.c_int),
    ]


class _Library:
    """LiteRT's C interface. Each function raises `RuntimeError` if its status is not 0."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def __getattr__(self, name: str) -> Callable[..., None]:
        function = getattr(self._library, f"LiteRt{name}")

        def call(*arguments: Any) -> None:
            status = function(*arguments)
            if status:
                msg = f"LiteRt{name} failed with status {status}"
                raise RuntimeError(msg)

        return call

    def new(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function whose last argument receives a new object, and return the object."""
        made = ctypes.c_void_p()
        getattr(self, name)(*arguments, ctypes.byref(made))
        return made


class Profiled:
    """A model that LiteRT compiled for the CPU with one thread, with its profiler."""

    def __init__(self, data: bytes, inputs: dict[str, np.ndarray]) -> None:
        import ai_edge_litert

        self._api = api = _Library(Path(ai_edge_litert.__file__).parent / "libLiteRt.so")
        self._data = ctypes.create_string_buffer(
            data, len(data)
        )  # The model reads the content of the file while it runs.
        self._environment = api.new("CreateEnvironment", 0, None)
        size = ctypes.c_size_t(len(data))
        self._model = api.new("CreateModelFromBuffer", self._environment, self._data, size)
        self._options = self._profiling_options()
        self._compiled = api.new("CreateCompiledModel", self._environment, self._model, self._options)
        self._profiler = api.new("CompiledModelGetProfiler", self._compiled)
        self._signature = api.new("GetModelSignature", self._model, ctypes.c_size_t(0))
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")
        self._fill(inputs)

    def _profiling_options(self) -> ctypes.c_void_p:
        api = self._api
        options = api.new("CreateOptions")
        api.SetOptionsHardwareAccelerators(options, CPU)
        self._text = ctypes.create_string_buffer(b"enable_profiling = true\n")
        self._keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _pointer: None)
        extra = api.new("CreateOpaqueOptions", b"runtime_options_string", self._text, self._keep)
        api.AddOpaqueOptions(options, extra)
        return options

    def _buffers(self, side: str) -> Any:
        api, count = self._api, ctypes.c_size_t()
        getattr(api, f"GetNumSignature{side}s")(self._signature, ctypes.byref(count))
        buffers = (ctypes.c_void_p * count.value)()
        for place in range(count.value):
            index = ctypes.c_size_t(place)
            requirements = api.new(
                f"GetCompiledModel{side}BufferRequirements", self._compiled, ctypes.c_size_t(0), index
            )
            tensor = api.new(f"GetSignature{side}TensorByIndex", self._signature, index)
            kind = ctypes.create_string_buffer(TYPE_BYTES)
            api.GetRankedTensorType(tensor, kind)
            made = api.new("CreateManagedTensorBufferFromRequirements", self._environment, kind, requirements)
            buffers[place] = made.value
        return buffers

    def _fill(self, inputs: dict[str, np.ndarray]) -> None:
        """Write the inputs, which have the names of the signature if there are several."""
        api = self._api
        for place, pointer in enumerate(self._inputs):
            name = ctypes.c_char_p()
            api.GetSignatureInputName(self._signature, ctypes.c_size_t(place), ctypes.byref(name))
            text = (name.value or b"").decode()
            array = inputs[text] if text in inputs else list(inputs.values())[place]
            buffer, address = ctypes.c_void_p(pointer), ctypes.c_void_p()
            api.LockTensorBuffer(buffer, ctypes.byref(address), WRITE)
            content = np.ascontiguousarray(array)
            ctypes.memmove(address, content.ctypes.data, content.nbytes)
            api.UnlockTensorBuffer(buffer)

    def run(self) -> None:
        """Run one inference."""
        inputs, outputs = self._inputs, self._outputs
        self._api.RunCompiledModel(
            self._compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(inputs)),
            inputs,
            ctypes.c_size_t(len(outputs)),
            outputs,
        )

    def profiled_run(self) -> list[tuple[str, int, int, int]]:
        """Run one inference. Return the tag, type, index and time in microseconds of each operator and kernel."""
        api, count = self._api, ctypes.c_int()
        api.ResetProfiler(self._profiler)
        api.StartProfiler(self._profiler)  # A reset also stops the profiler.
        self.run()
        api.GetNumProfilerEvents(self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        api.GetProfilerEvents(self._profiler, count, events)
        return [
            ((event.tag or b"").decode(errors="replace"), event.type, event.index, event.elapsed_us)
            for event in events
            if event.type in (OPERATOR, KERNEL)
        ]


def main(model: str, inputs: str) -> dict[str, Any]:
    """Return the events of one inference with their mean times, and the number of inferences."""
    with np.load(inputs, allow_pickle=False) as arrays:
        profiled = Profiled(Path(model).read_bytes(), dict(arrays))
    for _ in range(WARM_UP):
        profiled.profiled_run()
    runs: list[list[tuple[str, int, int, int]]] = []
    ends = time.perf_counter() + SECONDS
    while len(runs) < MIN_RUNS or (len(runs) < MAX_RUNS and time.perf_counter() < ends):
        runs.append(profiled.profiled_run())
    first = [event[:3] for event in runs[0]]
    same = [run for run in runs if [event[:3] for event in run] == first]
    times = [middle_mean([run[place][3] for run in same]) for place in range(len(first))]
    return {"events": [[*event, time_us] for event, time_us in zip(first, times, strict=True)], "runs": len(same)}


if __name__ == "__main__":
    print(MARK + json.dumps(main(*sys.argv[1:])))

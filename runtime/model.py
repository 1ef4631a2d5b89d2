"""The Python interface: open a bundle, ask it about a picture or a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError
from orilla.runtime import pipeline
from orilla.runtime.arrays import ArrayResult, TensorPreprocess
from orilla.runtime.bundle import Bundle
from orilla.runtime.engines import registry
from orilla.runtime.feed import Raw
from orilla.runtime.frame import Frame, Line, Record, Result, Tick
from orilla.runtime.manifest import Variant
from orilla.runtime.preprocess import Color
from orilla.runtime.session import Prepared, Session
from orilla.runtime.sources.source import Source, open_source, open_texts
from orilla.runtime.tasks import classify, segment


class Model:
    """One variant of a bundle, loaded and ready. Close it, or use it in a `with` block.

    Threads may share it: inferences take turns.
    """

    def __init__(self, bundle: Bundle, variant: Variant, session: Session) -> None:
        self.bundle = bundle
        self.variant = variant
        self.session = session
        self._feed = bundle.feed()
        self._count = 0
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        variant: str | None = None,
        engine: str | None = None,
        threads: int | None = None,
    ) -> Model:
        """Opens a bundle.

        Args:
            bundle: a path, or the name of a bundle that ships with Orilla.
            variant: a variant's name; the bundle's default where None.
            engine: `litert` or `onnx`; the variant's where None.
            threads: for inference; leaves one core to the loop where None.

        Raises:
            BundleError, ConfigError, EngineError, MissingExtraError
        """
        opened = Bundle.open(bundle)
        chosen = registry.choose(opened, variant, engine)
        return cls(opened, chosen, registry.load(opened, chosen, threads=threads))

    def __call__(self, raw: Raw, *, color: Color = "bgr") -> Tick:
        """Answers one picture, one text, or one sample of arrays.

        Args:
            raw: `[H,W,3]` uint8, as OpenCV gives it, read only; or a text, where the model is one of texts; or arrays
                by name, where it is one of arrays (one array without a name, where it takes one).
            color: `"rgb"` where the picture is in that order.

        Raises:
            DataError: a picture of another shape or type, or not what the model takes.
        """
        captured_ns = time.monotonic_ns()
        with self._lock:
            started = time.perf_counter_ns()
            prepared = self._feed(raw, color=color)
            ready = time.perf_counter_ns()
            output = self.session.run(prepared)
            inferred = time.perf_counter_ns()
            place = self._count
            self._count += 1
        frame = _framed(place, raw, captured_ns)
        result = self._decode(output, raw)
        stages = {
            "prepare": (ready - started) / 1e6,
            "infer": (inferred - ready) / 1e6,
            "decode": (time.perf_counter_ns() - inferred) / 1e6,
        }
        return Tick(frame, result, stages, time.monotonic_ns(), 0)

    def stream(self, source: Source | str | int | Path) -> Generator[Tick, None, None]:
        """Answers every frame of a source, while the caller works on the last answer.

        Args:
            source: an opened source, or what `open_source` takes (of a text model, a text file or `-`). A live source
                gives its newest frame.

        Raises:
            SourceError: no such source, or it broke off.
        """
        opened = self.open_source(source) if isinstance(source, str | int | Path) else source
        yield from pipeline.run(opened, self._feed, self._infer, self._decode)

    def open_source(self, spec: str | int | Path) -> Source:
        """Opens a source of what the model takes: pictures, or texts; raises `SourceError`, `ConfigError`."""
        if self._feed.kind == "tensor":
            raise ConfigError(f"{self.bundle.path.name} is a model of arrays: call it with arrays, it has no sources")
        return open_texts(str(spec)) if self._feed.is_text else open_source(spec)

    def close(self) -> None:
        """Frees the engine's memory."""
        self.session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _infer(self, prepared: Prepared) -> NDArray[np.float32]:
        with self._lock:
            return self.session.run(prepared)

    def _decode(self, output: NDArray[np.float32], raw: Raw) -> Result:
        manifest = self.bundle.manifest
        if manifest.task == "tensor":
            assert isinstance(manifest.preprocess, TensorPreprocess)
            return ArrayResult(manifest.preprocess.results(output))
        if manifest.task == "segment" and isinstance(raw, np.ndarray):
            return segment.decode(output, (raw.shape[0], raw.shape[1]), manifest.labels[0])
        return classify.decode(output, manifest.labels)


def _framed(place: int, raw: Raw, captured_ns: int) -> Frame | Line | Record:
    if isinstance(raw, str):
        return Line(place, raw, captured_ns)
    if isinstance(raw, np.ndarray) and raw.ndim == 3 and raw.dtype == np.uint8:
        return Frame(place, raw, captured_ns)
    return Record(place, raw if isinstance(raw, Mapping) else {"x": np.asarray(raw)}, captured_ns)

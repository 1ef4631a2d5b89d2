"""The Python interface: open a bundle, ask it about a picture or a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from orilla.runtime import pipeline
from orilla.runtime.bundle import Bundle
from orilla.runtime.engines import registry
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.manifest import Variant
from orilla.runtime.preprocess import Color, Image, Preprocessor
from orilla.runtime.session import Session
from orilla.runtime.sources.source import Source, open_source
from orilla.runtime.tasks import segment


class Model:
    """One variant of a bundle, loaded and ready. Close it, or use it in a `with` block.

    Threads may share it: inferences take turns.
    """

    def __init__(self, bundle: Bundle, variant: Variant, session: Session) -> None:
        self.bundle = bundle
        self.variant = variant
        self.session = session
        self._preprocessor = Preprocessor(bundle.manifest.preprocess)
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

    def __call__(self, image: Image, *, color: Color = "bgr") -> Tick:
        """Answers one picture.

        Args:
            image: `[H,W,3]` uint8, as OpenCV gives it; read only.
            color: `"rgb"` where the picture is in that order.

        Raises:
            DataError: a picture of another shape or type.
        """
        captured_ns = time.monotonic_ns()
        with self._lock:
            started = time.perf_counter_ns()
            prepared = self._preprocessor(image, color=color)
            ready = time.perf_counter_ns()
            output = self.session.run(prepared)
            inferred = time.perf_counter_ns()
            frame = Frame(self._count, image, captured_ns)
            self._count += 1
        result = self._decode(output, frame)
        stages = {
            "prepare": (ready - started) / 1e6,
            "infer": (inferred - ready) / 1e6,
            "decode": (time.perf_counter_ns() - inferred) / 1e6,
        }
        return Tick(frame, result, stages, time.monotonic_ns(), 0)

    def stream(self, source: Source | str | int | Path) -> Generator[Tick, None, None]:
        """Answers every frame of a source, while the caller works on the last answer.

        Args:
            source: an opened source, or what `open_source` takes. A live source gives its newest frame.

        Raises:
            SourceError: no such source, or it broke off.
        """
        opened = open_source(source) if isinstance(source, str | int | Path) else source
        yield from pipeline.run(opened, self.bundle.manifest.preprocess, self._infer, self._decode)

    def close(self) -> None:
        """Frees the engine's memory."""
        self.session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _infer(self, image: Image) -> NDArray[np.float32]:
        with self._lock:
            return self.session.run(image)

    def _decode(self, output: NDArray[np.float32], frame: Frame) -> segment.Segmentation:
        height, width = frame.image.shape[:2]
        return segment.decode(output, (height, width), self.bundle.manifest.labels[0])

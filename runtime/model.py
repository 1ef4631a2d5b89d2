"""`Model`: one variant of a bundle, loaded on an engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orilla.devices.cores import available_cores, loop_threads
from orilla.devices.errors import ConfigError, EngineError, InvalidOutputError, OrillaError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.bundle.rungs import RungChoice, exact_variant, rungs_of
from orilla.runtime.bundle.trust import Trust, TrustLike
from orilla.runtime.engines import loader
from orilla.runtime.engines.registry import default_engine, installed, known
from orilla.runtime.engines.session import Session
from orilla.runtime.engines.tuning_cache import lookup
from orilla.runtime.frame import Frame, Line, Record, Tick
from orilla.runtime.loop.fair_lock import FairLock
from orilla.runtime.loop.ladder import Ladder
from orilla.runtime.loop.ladder_stages import LadderStages, OpenRung, Rung
from orilla.runtime.loop.shadow import Reference, Shadow, ShadowCheck
from orilla.runtime.loop.stages import ModelStages, Stages, answer_once
from orilla.runtime.loop.workers import ComputeFunction, WorkerPlan
from orilla.runtime.preprocessing.image import Color
from orilla.runtime.preprocessing.image_file import read_image
from orilla.runtime.preprocessing.input_kind import ModelInput, RawInput, frame_size
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.runner import Runner
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import Answer, DecodeContext

if TYPE_CHECKING:
    from orilla.runtime.tracking.track import Track

MAX_WORKERS = 8
"""Maximum number of inference workers, because each one needs the memory of a session."""

CLOSE_S = 4.0
"""Time in seconds for which `Model.close` waits for the end of a running inference."""


class Model(Runner):
    """One variant of a bundle, loaded on an engine. Close it after use, or use it in a `with` block.

    Threads may share a model. It runs only one inference at a time.
    """

    def __init__(self, bundle: Bundle, variant: Variant, session: Session, engine: str, threads: int) -> None:
        self.bundle = bundle
        self.variant = variant
        self.session = session
        self.engine = engine
        """Name of the engine, as in the table `ENGINES`."""
        self.threads = threads
        """Number of inference threads of the engine."""
        self.worker_threads = 1
        """Number of inference threads of each worker, if a loop has several workers."""
        self.name = bundle.path.name
        self.note: str | None = None
        """One line that states the choice of `orilla tune`, or the reason why it is not used. None if there is no
        choice."""
        self._preprocessor = bundle.preprocessor()
        self.kind = self._preprocessor.kind
        self.takes_images = self._preprocessor.spec.takes_images
        self.familiarity = bundle.manifest.familiarity
        self._task = task_of(bundle.manifest.task)
        self._context = bundle.manifest.context
        self._indices = itertools.count()
        self._lock = FairLock()
        self._closed = self._abandoned = False

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        *,
        variant: str | None = None,
        engine: str | None = None,
        threads: int | None = None,
        trust: TrustLike = None,
    ) -> Model:
        """Open a bundle.

        If variant, engine and threads are all None, the choice of `orilla tune` for this bundle and machine is used.

        Args:
            bundle: Path, or the name of a shipped bundle.
            variant: Name of a variant. If None, the bundle's default is used.
            engine: Name of an engine, as listed by `orilla devices`. If None, the engine of the variant is used.
            threads: Number of inference threads. If None, all cores except one are used, at most four.
            trust: Paths of public keys. A bundle is rejected if none of the keys signed it, or if it is older than the
                previous bundle. If None, signatures are not checked.

        Raises:
            BundleError: The bundle is damaged or not trusted.
            ConfigError: A name is unknown, or the engine cannot run the variant.
            EngineError: The engine cannot load the variant.
        """
        opened = Bundle.open(bundle, every_file=False, trust=Trust.read(trust))
        if variant is not None or engine is not None or threads is not None:
            model = cls._loaded(opened, variant, engine, threads)
            model.worker_threads = threads or model.worker_threads
            return model
        tuned, reason = lookup(opened.manifest)
        if tuned is not None:
            try:
                model = cls._loaded(opened, tuned.variant, tuned.engine, tuned.threads)
            except OrillaError as error:
                reason = str(error)
            else:
                model.note = f"{tuned}, chosen by `orilla tune`"
                return model
        model = cls._loaded(opened, None, None, None)
        if reason is not None:
            model.note = f"{reason}: the tuned choice is not used; run `orilla tune {bundle}` again"
        return model

    @classmethod
    def _loaded(cls, bundle: Bundle, variant: str | None, engine: str | None, threads: int | None) -> Model:
        chosen = loader.choose(bundle, variant, engine)
        engine, threads = engine or default_engine(chosen.format), loop_threads() if threads is None else threads
        return cls(bundle, chosen, loader.load(bundle, chosen, engine=engine, threads=threads), engine, threads)

    def __call__(self, raw: RawInput | Path, *, color: Color = "bgr") -> Tick:
        """Run the model on one image, one text, or one sample of arrays.

        Args:
            raw: An image `[H,W,3]` uint8 as OpenCV reads it, the path of an image file, a string, arrays by name, or,
                for a model with one input, one array. The input is not changed.
            color: Channel order of an image: `"bgr"` or `"rgb"`. `tick.frame.image` keeps this order.

        Raises:
            DataError: The input does not have the shape or type that the model takes, or the file cannot be read.
            InvalidOutputError: An output contains NaN or infinity.
        """
        captured_ns = time.monotonic_ns()
        if isinstance(raw, Path) or (self.takes_images and isinstance(raw, str)):
            image = read_image(Path(raw))
            raw = image if color == "bgr" else np.ascontiguousarray(image[..., ::-1])
        result, stages_ms = answer_once(self.stages(color=color), raw)
        frame = _framed(next(self._indices), raw, captured_ns)
        return Tick(frame, result, stages_ms, time.monotonic_ns())

    def stages(self, *, track: Track | None = None, color: Color = "bgr") -> ModelStages:
        """Return the stages that one loop runs for each frame.

        Args:
            track: Settings of the tracker. If None, objects are not tracked.
            color: Channel order of the images.

        Raises:
            ConfigError: `track` is set, but the model is not a detector.
        """
        if track is None:
            return ModelStages(self._preprocessor, self._infer, self._decode, color=color)
        from orilla.runtime.tracking.stage import TrackStage

        if not self.finds_boxes:
            msg = f"`track` needs a detector: {self.name} has the task {self._task.name}, which finds no boxes"
            raise ConfigError(msg)
        stage = TrackStage(track, self._context)
        decode = partial(self._decode, context=stage.context)
        return ModelStages(self._preprocessor, self._infer, decode, color=color, track=stage)

    def ladder_stages(self, stages: Stages, ladder: Ladder, track: Track | None = None) -> LadderStages:
        """Return stages that answer each frame on a rung of a ladder, whose first rung is this model.

        Args:
            stages: Stages of the first rung, which `stages` returned.
            ladder: Settings of the ladder.
            track: Settings of the tracker with which `stages` was called.

        Raises:
            ConfigError: A rung is unknown or has a different task, or there is no rung besides this model.
        """
        assert isinstance(stages, ModelStages)
        choices = rungs_of(self.bundle, self.variant, ladder.rungs, self._can_run)
        rungs = [
            Rung(rung.name, partial(self._open_rung, rung, track), comparable=rung.bundle is self.bundle)
            for rung in choices
        ]
        return LadderStages(ladder, rungs, stages)

    def shadow_check(self, stages: Stages, shadow: Shadow, *, live: bool) -> ShadowCheck:
        """Return the check that compares this model with another variant while `stages` answer frames.

        Args:
            stages: Stages of the loop, which `stages` returned. The check observes them.
            shadow: Settings of the check.
            live: True if the source of the loop is live.

        Raises:
            ConfigError: The variant is unknown, this model itself, or cannot run here; or frames cannot be stored.
            OutputError: The folder for stored frames cannot be created.
        """
        assert isinstance(stages, ModelStages)
        if shadow.keep is not None and not self.takes_images:
            msg = f"keep={shadow.keep}: {self.name} does not take images, and only images can be stored"
            raise ConfigError(msg)
        manifest = self.bundle.manifest
        name = shadow.variant
        reference = exact_variant(manifest, self.variant.format) if name is None else manifest.variant(name)
        if reference.name == self.variant.name:
            msg = f"`shadow`: {reference.name} is the variant that is opened, so there is nothing to compare it with"
            raise ConfigError(msg)
        if not self._can_run(reference):
            engine = default_engine(reference.format)
            msg = f"`shadow`: the engine of {reference.name} is not installed: {known(engine).install}"
            raise ConfigError(msg)
        opener = partial(self._open_reference, reference)
        check = ShadowCheck(shadow, self.variant.check.agreement, opener, live=live)
        stages.observer = check.offer
        return check

    def _open_reference(self, variant: Variant) -> Reference:
        """Load a variant with one thread, so that the other cores remain free for the loop."""
        engine = self.engine if loader.fits(variant, self.engine) else None
        session = loader.load(self.bundle, variant, engine=engine, threads=1)

        def agreement(prepared: ModelInput, outputs: Outputs) -> float:
            same = self._task.agreeing(outputs, session.run(prepared), self._context)
            return float(np.mean(same)) if same.size else 1.0

        return Reference(agreement, session.close)

    def _can_run(self, variant: Variant) -> bool:
        return loader.fits(variant, self.engine) or installed(default_engine(variant.format))

    def _open_rung(self, rung: RungChoice, track: Track | None) -> OpenRung:
        """Load another rung.

        It runs on this model's engine if that engine can run the variant, else on the variant's default.
        """
        engine = self.engine if loader.fits(rung.variant, self.engine) else None
        model = self._loaded(rung.bundle, rung.variant.name, engine, self.threads)
        return OpenRung(model.stages(track=track), model.close)

    @property
    def max_workers(self) -> int:
        """Return the largest number of inference workers: one per core, or fewer if the user chose several threads."""
        if not known(self.engine).parallel:
            return 1
        return max(1, min(MAX_WORKERS, available_cores() // self.worker_threads))

    def worker_plan(self, stages: Stages, limit: int | None) -> WorkerPlan | None:
        """Return the plan for more inference workers in a loop on a recorded source, or None for a single worker."""
        count = self.max_workers if limit is None else limit
        if count < 2 or not isinstance(stages, ModelStages) or not known(self.engine).parallel:
            return None
        opener = partial(self._open_worker, stages)
        return WorkerPlan(count, stages, opener, replaces_first=self.threads > self.worker_threads)

    @contextmanager
    def _open_worker(self, stages: ModelStages) -> Iterator[ComputeFunction]:
        """Load another session, and yield a function that computes answers with this session."""
        session = loader.load(self.bundle, self.variant, engine=self.engine, threads=self.worker_threads)

        def infer(prepared: ModelInput) -> Outputs:
            self._check_open()
            return session.run(prepared)

        with closing(session):
            yield partial(stages.compute, infer=infer)

    @property
    def finds_boxes(self) -> bool:
        """Return True if the model is a detector, whose objects can be tracked."""
        return self._context.head is not None

    def sessions(self) -> tuple[Session, ...]:
        """Return the model's only session."""
        return (self.session,)

    def notes(self) -> list[str]:
        """Return the note about tuning with the name of the bundle, or an empty list if there is none."""
        return [] if self.note is None else [f"{self.bundle.path.stem}: {self.note}"]

    def describe(self) -> dict[str, str]:
        """Return a dictionary with the bundle's name as its key, and the variant and engine as its value."""
        return {self.bundle.path.stem: f"{self.variant.name} on {self.session.engine}"}

    def close(self) -> None:
        """Release the engine. Later calls raise `ConfigError`.

        Raises:
            EngineError: A running inference does not end within `CLOSE_S` seconds, because its accelerator hangs. The
                engine is released if the inference ends later.
        """
        self._closed = True
        if self._abandoned:
            return
        if not self._lock.acquire(CLOSE_S):
            self._abandoned = True
            msg = f"{self.name}: the inference on {self.session.engine} does not end, so the engine cannot be released"
            raise EngineError(msg)
        try:
            self.session.close()
        finally:
            self._lock.release()

    def _infer(self, prepared: ModelInput) -> Outputs:
        with self._lock:
            self._check_open()
            try:
                return self.session.run(prepared)
            finally:
                if self._abandoned:
                    self.session.close()

    def _check_open(self) -> None:
        if self._closed:
            msg = f"{self.name} is closed: open it again"
            raise ConfigError(msg)

    def _decode(self, outputs: Outputs, raw: RawInput, context: DecodeContext | None = None) -> Answer:
        context = (context or self._context).of_frame(frame_size(raw))
        try:
            self._task.check_finite(outputs, context)
        except InvalidOutputError as error:
            msg = f"{self.name}: {error}"
            raise InvalidOutputError(msg) from error
        return self._task.decode(outputs, context)


def _framed(index: int, raw: RawInput, captured_ns: int) -> Frame | Line | Record:
    if isinstance(raw, str):
        return Line(index, raw, captured_ns)
    if isinstance(raw, np.ndarray) and raw.ndim == 3 and raw.dtype == np.uint8:
        return Frame(index, raw, captured_ns)
    return Record(index, raw if isinstance(raw, Mapping) else {"x": np.asarray(raw)}, captured_ns)

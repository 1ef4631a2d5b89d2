"""`Runner`: the common interface of one model, several models and a cascade. It runs them on a source."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable
from weakref import WeakMethod

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, unknown_name
from orilla.runtime.engines.session import Recoverable, Session
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.loop.guard import GuardLike, parse_guard
from orilla.runtime.loop.ladder import Ladder
from orilla.runtime.loop.ladder_stages import LadderStages
from orilla.runtime.loop.loop import CameraLoop
from orilla.runtime.loop.policy import LIVE, RECORDED, Policy
from orilla.runtime.loop.recording import Recording
from orilla.runtime.loop.shadow import Shadow, ShadowCheck
from orilla.runtime.loop.stages import Stages, answer_once
from orilla.runtime.loop.stream import Stream, Watcher
from orilla.runtime.loop.streams import Streams, by_name, named_events, with_name
from orilla.runtime.loop.workers import WorkerPlan
from orilla.runtime.preprocessing.familiarity import Familiarity
from orilla.runtime.preprocessing.image import Image, check_image
from orilla.runtime.sources.registry import INPUT_SOURCES
from orilla.runtime.sources.source import Source

if TYPE_CHECKING:
    from typing_extensions import Self

    from orilla.runtime.tracking.track import Track

SourceLike = Source | str | int | Path | Iterable[NDArray[np.uint8]]
"""An opened source, a specification for `open_source`, or images, each `[H,W,3]` uint8 BGR."""


class _Options(NamedTuple):
    """The options of one stream. See `Runner.stream`."""

    policy: str | Policy | None
    on_event: Callable[[Event], None] | None
    record: str | Path | None
    track: Track | bool
    guard: GuardLike = None
    workers: int | None = 1
    ladder: Ladder | None = None
    shadow: Shadow | None = None
    name: str | None = None
    """Name of the source if there are several sources."""


@runtime_checkable
class _Readable(Protocol):
    """An object that has some methods of a source. The caller probably meant to pass a source."""

    def read(self) -> object: ...


class Runner(ABC):
    """Base class of objects that process the frames of a source.

    Close an object after use, or use it in a `with` block.
    """

    name: str
    """Name of the object in messages."""
    kind: Literal["image", "text", "tensor"]
    """Kind of the input."""
    takes_images: bool = True
    """True if the input is an image. It always is for several models."""
    familiarity: Familiarity | None = None
    """Statistics of the calibration images. None for several models, and if the bundle does not contain them."""

    @abstractmethod
    def stages(self, *, track: Track | None = None) -> Stages:
        """Return the stages that one loop runs for each frame.

        Each loop needs its own object, because it reuses buffers and tracks the objects of one stream.

        Args:
            track: Settings of the tracker. If None, objects are not tracked.

        Raises:
            ConfigError: `track` is set, but no model is a detector.
        """

    def ladder_stages(self, stages: Stages, ladder: Ladder, track: Track | None = None) -> LadderStages:
        """Return stages that answer each frame on a rung of a ladder. Raise `ConfigError` if there are several models.

        See `Model.ladder_stages`.
        """
        del stages, ladder, track
        msg = "`ladder` needs one model, not several models or a cascade"
        raise ConfigError(msg)

    def shadow_check(self, stages: Stages, shadow: Shadow, *, live: bool) -> ShadowCheck:
        """Return the check that compares answers with another variant. Raise `ConfigError` if there are several models.

        See `Model.shadow_check`.
        """
        del stages, shadow, live
        msg = "`shadow` needs one model, not several models or a cascade"
        raise ConfigError(msg)

    def worker_plan(self, stages: Stages, limit: int | None) -> WorkerPlan | None:
        """Return the plan for more inference workers in a loop on a recorded source, or None for a single worker.

        Args:
            stages: Stages of the loop, which `stages` returned.
            limit: Maximum number of workers. If None, all cores may be used.
        """
        del stages, limit
        return None

    @property
    def max_workers(self) -> int:
        """Return the largest number of inference workers of a loop on a recorded source."""
        return 1

    @abstractmethod
    def close(self) -> None:
        """Release the engine."""

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """Return the variant and engine of each model. The keys are the names."""

    def listen(self, on_event: Callable[[str], None]) -> None:
        """Register a method that the inference thread calls with each event of an accelerator.

        The registration ends when the object to which the method belongs is deleted.
        """
        method = WeakMethod(on_event)

        def call_if_alive(detail: str) -> None:
            if (alive := method()) is not None:
                alive(detail)

        for session in self.sessions():
            if isinstance(session, Recoverable):
                session.on_event = call_if_alive

    def counts(self) -> dict[str, int]:
        """Return the number of accelerator events for each kind. The result is empty if there is no accelerator."""
        totals: dict[str, int] = {}
        for session in self.sessions():
            if isinstance(session, Recoverable):
                for name, count in session.counts.items():
                    totals[name] = totals.get(name, 0) + count
        return totals

    @abstractmethod
    def sessions(self) -> Sequence[Session]:
        """Return the session of each model."""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return the notes about the tuning of the models, one line each."""

    def __call__(self, image: Image) -> Tick:
        """Process one image, `[H,W,3]` uint8 BGR.

        Raises:
            DataError: The image has a wrong shape or type.
        """
        check_image(image)
        captured_ns = time.monotonic_ns()
        result, stages_ms = answer_once(self.stages(), image)
        return Tick(Frame(0, image, captured_ns), result, stages_ms, time.monotonic_ns())

    def stream(  # noqa: PLR0913 - keyword-only options
        self,
        source: SourceLike,
        *,
        policy: str | Policy | None = None,
        on_event: Callable[[Event], None] | None = None,
        record: str | Path | None = None,
        track: Track | bool = False,
        guard: GuardLike = None,
        workers: int | None = None,
        ladder: Ladder | None = None,
        shadow: Shadow | None = None,
    ) -> Stream:
        """Process the frames of a source while the caller works with the previous answer.

        Args:
            source: An opened source; a specification for `open_source`, such as a text file or `-` for a text model; or
                images or texts as an array `[N,H,W,3]`, a list or a generator.
            policy: `latest`, `every`, `rate:HZ` or `deadline:MS` (see `Policy`). If None, it is `latest` for a live
                source and `every` for a recorded source. With `latest` and `deadline`, a recorded source plays at its
                frame rate.
            on_event: Function that receives events. The capture thread calls it when the camera is lost or back, when a
                frame is corrupt, and when the frame size changes. The inference thread calls it when an accelerator is
                lost or back. If None, the logger `orilla` logs the events as warnings. The loop keeps a reference to
                the function, so a function that refers to the stream keeps the loop running until the stream is
                closed.
            record: Path of a recording to write for `orilla replay`. If None, nothing is recorded.
            track: If True, or if given as settings, the objects of a detector get track IDs that they keep from frame
                to frame. The settings may contain lines and zones at which objects are counted. Each stream has its own
                track IDs and counts.
            guard: Checks of the frames: names separated by commas, such as `dark,frozen` (see
                `orilla.runtime.loop.guard.CHECKS`), True for all, or False for none. If None, the frames of a live
                source are checked. `tick.doubts` lists the checks that the frame fails.
            workers: Maximum number of threads that run inferences, each on its own frame and session. If None, a single
                model on the CPU may use all cores if the source is recorded and the policy is `every`. In all other
                cases, there is one worker. Workers are added only while inference is the slowest stage.
            ladder: Settings of a degradation ladder, with which the loop uses a faster model while the answers are too
                old. `tick.rung` is the name of the rung that answered. If None, only this model is used.
            shadow: Settings of a shadow check, which compares some of the answers with those of a more exact variant
                while the loop has idle time. `tick.agreement` is the result. If None, nothing is compared.

        Returns:
            An iterator over `Tick`, which also supports `async for`. If the source fails, it raises the error after the
                last answer.

        Raises:
            SourceError: The source does not exist.
            ConfigError: The policy needs a frame rate, but the source has none; `track` is set, but the model is not a
                detector; `workers` is invalid; or a variant of `ladder` or `shadow` cannot be used.
        """
        return self._stream(source, _Options(policy, on_event, record, track, guard, workers, ladder, shadow))

    def _stream(self, source: SourceLike, options: _Options) -> Stream:
        policy, record = options.policy, options.record
        chosen = Policy.parse(policy) if isinstance(policy, str) else policy
        track = _settings(track=options.track)
        stages = self.stages(track=track)
        ladder = None if options.ladder is None else self.ladder_stages(stages, options.ladder, track)
        opened = self.open_source(source)
        try:
            if chosen is None:
                chosen = Policy.parse(LIVE if opened.live else RECORDED)
            plan = self._plan(stages, chosen, opened, options.workers)
            played = opened
            if chosen.needs_playback and not opened.live:
                from orilla.runtime.sources.paced import Paced

                played = Paced(opened)
            if ladder is not None and not played.live:
                msg = f"policy={chosen}: with a ladder, a recorded source needs policy=latest or policy=deadline:MS"
                raise ConfigError(msg)
            shadow = None if options.shadow is None else self.shadow_check(stages, options.shadow, live=played.live)
            recording = Recording.create(record, chosen, played, self.describe()) if record is not None else None
            loop = CameraLoop(played, ladder or stages, chosen, on_event=options.on_event, recorder=recording)
            if ladder is not None:
                ladder.report = partial(loop.report, "rung")
                loop.at_end.append(ladder.close)
            if shadow is not None:
                shadow.on_drift = partial(loop.report, "drift")
                loop.at_start.append(shadow.start)
                loop.at_end.append(shadow.close)
            loop.guard = parse_guard(options.guard, live=opened.live, familiarity=self.familiarity)
            loop.plan = plan
            self.listen(loop.report_engine)
        except BaseException:
            opened.close()
            raise
        return Stream(loop, recording, source=opened, name=options.name)

    def streams(  # noqa: PLR0913 - keyword-only options
        self,
        sources: Mapping[str, SourceLike] | None = None,
        /,
        *,
        policy: str | Policy | Mapping[str, str | Policy] | None = None,
        on_event: Callable[[Event], None] | None = None,
        record: str | Path | None = None,
        track: Track | bool = False,
        guard: GuardLike = None,
        **named: SourceLike,
    ) -> Streams:
        """Process the frames of several sources with one model. `tick.source` is the name of the source.

        Each source has its own loop, so a camera that is lost or slow does not delay the others. They take turns in
        using the model.

        Args:
            sources: Sources by name, as for `stream`.
            policy: One policy for all sources, or the policy of each source by name.
            on_event: Function that receives events, with `event.source`. Several threads call it. If None, the logger
                `orilla` logs the events.
            record: Path of the recordings. The name of the source is added to the file name.
            track: As for `stream`. Each source has its own track IDs.
            guard: As for `stream`.
            **named: Further sources by name, as in `streams(front=0, rear="rtsp://HOST/NAME")`.

        Raises:
            SourceError: A source does not exist.
            ConfigError: There is no source, a name is given twice, or a policy cannot be used for a source.
        """
        chosen = by_name(sources or {}, named)
        policies = dict(policy) if isinstance(policy, Mapping) else dict.fromkeys(chosen, policy)
        for name in policies:
            if name not in chosen:
                raise unknown_name(name, chosen, kind="source in `policy`")
        opened: dict[str, Stream] = {}
        try:
            for name, source in chosen.items():
                path = None if record is None else with_name(Path(record), name)
                options = _Options(policies.get(name), named_events(on_event, name), path, track, guard, name=name)
                opened[name] = self._stream(source, options)
        except BaseException:
            for stream in opened.values():
                stream.close()
            raise
        return Streams(opened)

    def _plan(self, stages: Stages, policy: Policy, source: Source, workers: int | None) -> WorkerPlan | None:
        """Return the plan for further inference workers of a loop, or None if it has one worker."""
        if workers is not None and workers < 1:
            msg = f"workers={workers}: must be 1 or more"
            raise ConfigError(msg)
        may_have_several = workers != 1 and not source.live and policy.name == "every"
        plan = self.worker_plan(stages, workers) if may_have_several else None
        if plan is None and (workers or 1) > 1:
            msg = f"workers={workers}: several workers need one model on the CPU, a recorded source and policy=every"
            raise ConfigError(msg)
        return plan

    def watch(self, source: SourceLike, on_tick: Callable[[Tick], object], **options: Any) -> Watcher:
        """Call `on_tick` with each answer, in a new thread. The options are those of `stream`.

        Returns:
            The running thread, with `stop()` and `wait()`. The end of a `with` block stops it.
        """
        return Watcher(self.stream(source, **options), on_tick).start()

    def open_source(self, spec: SourceLike) -> Source:
        """Open a source of images or texts, as for `stream`.

        Raises:
            SourceError: The source does not exist.
            ConfigError: The model takes arrays, or the argument is not a source.
        """
        sources = INPUT_SOURCES[self.kind]
        if isinstance(spec, str | Integral | Path):
            return sources.open(str(spec))
        if isinstance(spec, np.ndarray) and spec.ndim < 4:
            msg = f"images must have the shape [N,H,W,3], got {list(spec.shape)}: for a single image, call the model"
            raise ConfigError(msg)
        if isinstance(spec, Source):
            return spec
        if isinstance(spec, _Readable):
            missing = [name for name in ("live", "rate_hz", "close") if name not in dir(spec)]
            msg = f"{type(spec).__name__} is not a source: it lacks {', '.join(missing)}"
            raise ConfigError(msg)
        if not isinstance(spec, Iterable):
            msg = f"{spec!r} is not a source: give a camera number, a URL, a path or images"
            raise ConfigError(msg)
        return sources.wrap(spec, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _settings(*, track: Track | bool) -> Track | None:
    """Return the settings of the tracker, or None if objects are not tracked."""
    if track is False:
        return None
    from orilla.runtime.tracking.track import Track

    if track is not True and not isinstance(track, Track):
        msg = f"track={track!r}: must be True, False or an object of the class Track"
        raise ConfigError(msg)
    return Track() if track is True else track

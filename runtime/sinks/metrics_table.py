"""The metrics of a loop, in the data model of Prometheus.

Names and units follow https://prometheus.io/docs/practices/naming/. The number of time series is limited: after the
first `MAX_LABELS` classes or value names, all others are counted as `other`.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from orilla.runtime.frame import Event, Ranked, Tick, answers_of

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the histogram buckets in seconds. The buckets are finest around the frame periods of cameras (15 to
100 ms)."""

MAX_LABELS = 100
"""Maximum number of class labels of a metric."""

OTHER = "other"
"""Label under which the classes after the first `MAX_LABELS` are counted."""


class MetricsTable:
    """The metrics of one loop. One thread adds ticks, and any thread may read the registry.

    Args:
        stale_s: Number of seconds without an answer after which the loop counts as unhealthy.
    """

    def __init__(self, stale_s: float) -> None:
        self.registry = registry = CollectorRegistry()
        self._stale_s = stale_s
        self._answered_s: float | None = None
        self._lost: set[str] = set()
        self._drops: dict[tuple[str, str], int] = {}
        ProcessCollector(registry=registry)
        Gauge("orilla_info", "Version of Orilla", ["version"], registry=registry).labels(version("orilla")).set(1)

        def counter(name: str, text: str, *keys: str) -> Counter:
            return Counter(f"orilla_{name}", text, keys, registry=registry)

        def gauge(name: str, text: str, *keys: str) -> Gauge:
            return Gauge(f"orilla_{name}", text, keys, registry=registry)

        def histogram(name: str, text: str, *keys: str) -> Histogram:
            return Histogram(f"orilla_{name}", text, keys, registry=registry, buckets=BUCKETS_S)

        self._frames = counter("frames", "Answered frames", "source")
        self._dropped = counter("dropped_frames", "Frames without an answer, by reason", "source", "reason")
        self._events = counter("events", "Events of the source and the accelerator", "source", "kind")
        self._stage = histogram("stage_seconds", "Time of a stage", "source", "stage")
        self._age = histogram("age_seconds", "Time from capture to the answer", "source")
        self._rung = gauge("rung", "1 for the rung of the ladder that gave the newest answer, else 0", "source", "rung")
        self._agreement = gauge("agreement", "Mean agreement of the last shadow checks, 0-1", "source")
        self._rungs: dict[str, str] = {}
        """Newest rung of each source."""
        gauge("healthy", "1 if the newest answer is recent and no source is lost, else 0").set_function(self._healthy)
        gauge("answer_age_seconds", "Time since the newest answer").set_function(self._since_s)
        place = ("source", "model")
        self._results = counter("results", "Results of a classifier, by most likely class", *place, "name")
        self._measures: dict[str, Gauge] = {}
        """Gauge of each quantity that answers contain."""
        self._names: dict[tuple[str, str, str], dict[tuple[str, str], None]] = {}
        """Names and units of the values so far, by source, model and quantity."""
        self._labels: dict[tuple[str, str], set[str]] = {}
        """Labels of the results that were counted, for each source and model."""

    def add(self, tick: Tick) -> None:
        """Update all metrics with one tick."""
        source = tick.source or ""
        self._answered_s = time.monotonic()
        self._lost.discard(source)
        self._frames.labels(source).inc()
        for reason, number in tick.drops.items():
            last = self._drops.get((source, reason), 0)
            self._dropped.labels(source, reason).inc(max(0, number - last))
            self._drops[source, reason] = number
        for stage, milliseconds in tick.stages_ms.items():
            self._stage.labels(source, stage).observe(milliseconds / 1e3)
        self._age.labels(source).observe(tick.age_ms / 1e3)
        if tick.agreement is not None:
            self._agreement.labels(source).set(tick.agreement)
        if tick.rung is not None and tick.rung != self._rungs.get(source):
            if source in self._rungs:
                self._rung.labels(source, self._rungs[source]).set(0)
            self._rungs[source] = tick.rung
            self._rung.labels(source, tick.rung).set(1)
        for model, answer in answers_of(tick.result):
            self._add_answer((source, model), answer)

    def count(self, event: Event) -> None:
        """Count an event."""
        source = event.source or ""
        self._events.labels(source, event.kind).inc()
        if event.kind == "lost":
            self._lost.add(source)
        elif event.kind == "back":
            self._lost.discard(source)

    def _add_answer(self, place: tuple[str, str], answer: Any) -> None:
        if isinstance(answer, Ranked):
            labels, label = self._labels.setdefault(place, set()), answer.top.label
            label = label if label in labels or len(labels) < MAX_LABELS else OTHER
            labels.add(label)
            self._results.labels(*place, label).inc()
        # Names of earlier answers that this answer does not contain are set to 0.
        numbers = {key: dict.fromkeys(names, 0.0) for key, names in self._names.items() if key[:2] == place}
        for measure in answer.measures():
            key = (*place, measure.quantity)
            bounded = self._bounded(key, measure.name, measure.unit)
            values = numbers.setdefault(key, {})
            values[bounded] = values.get(bounded, 0.0) + measure.number
        for (_, _, quantity), values in numbers.items():
            for (name, unit), number in values.items():
                self._gauge(quantity).labels(*place, name, unit).set(number)

    def _gauge(self, quantity: str) -> Gauge:
        """Return the gauge of a quantity. It is created on the first call."""
        if quantity not in self._measures:
            keys = ("source", "model", "name", "unit")
            text = f"The quantity `{quantity}` in the newest answer"
            self._measures[quantity] = Gauge(f"orilla_{quantity}", text, keys, registry=self.registry)
        return self._measures[quantity]

    def _bounded(self, key: tuple[str, str, str], name: str, unit: str = "") -> tuple[str, str]:
        """Return a name and its unit. A new name becomes `OTHER` if the quantity already has `MAX_LABELS` names."""
        known = self._names.setdefault(key, {})
        if (name, unit) not in known and len(known) >= MAX_LABELS:
            name = OTHER
        known[name, unit] = None
        return name, unit

    def _since_s(self) -> float:
        return float("nan") if self._answered_s is None else time.monotonic() - self._answered_s

    def _healthy(self) -> float:
        return float(not self._lost and self._since_s() < self._stale_s)

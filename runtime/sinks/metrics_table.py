"""The metrics of a loop, in the data model of Prometheus.

Names and units follow https://prometheus.io/docs/practices/naming/. The number of time series is bounded: the class
labels come from the model, and classes after the first `MAX_LABELS` are counted as `other`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.answers import Document, answers, box_counts, fractions, line_counts

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
"""Upper limits of the buckets of the histograms, in seconds. They are closer together around the frame periods of
cameras, 15 to 100 ms."""

MAX_LABELS = 100
"""Maximum number of class labels of a metric."""

OTHER = "other"
"""Label under which the classes after the first `MAX_LABELS` are counted."""


class MetricsTable:
    """The metrics of one loop. One thread adds ticks, and any thread may read the registry.

    Args:
        labels: Names of the model's classes. Empty if there are several models.
        stale_s: Time in seconds after the last answer from which the loop counts as unhealthy.
    """

    def __init__(self, labels: Sequence[str], stale_s: float) -> None:
        self.registry = registry = CollectorRegistry()
        self._stale_s = stale_s
        self._labels = list(labels[:MAX_LABELS])
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
        gauge("healthy", "1 if the newest answer is recent and no source is lost, else 0").set_function(self._healthy)
        gauge("answer_age_seconds", "Time since the newest answer").set_function(self._since_s)
        place = ("source", "model")
        self._results = counter("results", "Results of a classifier, by most likely class", *place, "label")
        self._score = gauge("score", "Score of the most likely class", *place)
        self._boxes = gauge("boxes", "Objects in the newest frame", *place, "label")
        self._counts = gauge("counts", "Counts of lines and zones", *place, "name", "count")
        self._fraction = gauge("fraction", "Share of the newest frame that a class covers", *place, "label")
        self._value = gauge("value", "Newest value of a regression model", *place, "name", "unit")

    def add(self, tick: Tick) -> None:
        """Update all metrics with one tick."""
        document = tick.to_dict()
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
        result = document["result"]
        assert isinstance(result, dict)
        for answer in answers(result):
            self._add_answer((source, answer.model), answer.document)

    def count(self, event: Event) -> None:
        """Count an event."""
        source = event.source or ""
        self._events.labels(source, event.kind).inc()
        if event.kind == "lost":
            self._lost.add(source)
        elif event.kind == "back":
            self._lost.discard(source)

    def _add_answer(self, place: tuple[str, str], answer: Document) -> None:
        task = answer["task"]
        if task in ("classify", "text"):
            self._results.labels(*place, self._bounded(answer["top"]["label"])).inc()
            self._score.labels(*place).set(answer["top"]["score"])
        elif task == "detect":
            self._set(self._boxes, place, box_counts(answer))
            for key, number in line_counts(answer).items():
                self._counts.labels(*place, *key).set(number)
        elif task == "segment":
            self._set(self._fraction, place, fractions(answer))
        elif task == "regress":
            units = answer.get("units", {})
            for name, value in answer["values"].items():
                self._value.labels(*place, name, units.get(name, "")).set(value)

    def _set(self, gauge: Gauge, place: tuple[str, str], values: Mapping[str, float]) -> None:
        """Set a gauge for every known class. Classes without a value are set to 0."""
        bounded: dict[str, float] = {}
        for label, value in values.items():
            key = self._bounded(label)
            bounded[key] = bounded.get(key, 0) + value
        for label in (*self._labels, *((OTHER,) if OTHER in bounded else ())):
            gauge.labels(*place, label).set(bounded.get(label, 0))

    def _bounded(self, label: str) -> str:
        if label not in self._labels:
            if len(self._labels) >= MAX_LABELS:
                return OTHER
            self._labels.append(label)
        return label

    def _since_s(self) -> float:
        return float("nan") if self._answered_s is None else time.monotonic() - self._answered_s

    def _healthy(self) -> float:
        return float(not self._lost and self._since_s() < self._stale_s)

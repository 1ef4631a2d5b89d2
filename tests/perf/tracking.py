"""Measure the time of the stage `track`, and compare the greedy assignment with the optimal one.

    python tests/perf/tracking.py                milliseconds per frame for several numbers of boxes
    python tests/perf/tracking.py --assignment   identity switches on synthetic scenes; needs SciPy

The configurations are measured interleaved, frame by frame, so that a disturbance affects all of them equally. The CPU
time of the thread does not include waiting while other processes run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.tracks import Path as ObjectPath
from helpers.tracks import Scene, quality, track

from orilla.runtime.tasks.detect import Box, Detection
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.task import DecodeContext
from orilla.runtime.tracking import tracker as tracker_module
from orilla.runtime.tracking.stage import TrackStage
from orilla.runtime.tracking.track import Track
from orilla.runtime.tracking.tracker import Tracker

FRAMES, WARM_UP, RATE_HZ = 600, 50, 30.0
SIZE_HW = (720, 1280)
LABELS = ("car", "bus", "person")
COUNTED = Track(
    lines={"across": ((0, 0.5), (1, 0.5)), "along": ((0.5, 0), (0.5, 1))},
    zones={"zone": ((0.2, 0.2), (0.8, 0.2), (0.5, 0.9))},
)
SEEDS = 20


def frames(count: int) -> Iterator[tuple[Detection, int]]:
    """Yield the detections of objects that move through the frame with jitter, and the times of the frames."""
    rng = np.random.default_rng(0)
    start, speed, side = rng.random((count, 2)), rng.normal(0, 0.05, (count, 2)), 0.5 / np.sqrt(count)
    scale = np.tile(SIZE_HW[::-1], 2)
    for index in range(FRAMES):
        corner = (start + speed * index / RATE_HZ) % 1
        boxes = np.concatenate([corner, corner + side], axis=1) + rng.normal(0, 0.02 * side, (count, 4))
        scores = rng.uniform(0.3, 0.9, count).tolist()
        found = (
            Box(LABELS[number % 3], score, tuple(box))
            for number, (score, box) in enumerate(zip(scores, (boxes * scale).tolist(), strict=True))
        )
        yield Detection(tuple(found), SIZE_HW), round(1e9 * index / RATE_HZ)


def stage(settings: Track) -> TrackStage:
    """Return a new stage for a detector with three classes."""
    head = HeadSpec("nms_in_graph", {"detections": "out"}, score_threshold=0.25)
    return TrackStage(settings, DecodeContext(LABELS, None, None, head))


def measure_times() -> list[dict[str, object]]:
    """Return the time of the stage for several numbers of boxes, without lines, and with two lines and a zone."""
    configurations = {
        (count, name): (frames(count), stage(settings))
        for count in (1, 10, 50, 100)
        for name, settings in (("none", Track()), ("all", COUNTED))
    }
    times_ms: dict[tuple[int, str], list[tuple[float, float]]] = {key: [] for key in configurations}
    for _ in range(FRAMES):
        for key, (source, stage_of) in configurations.items():
            detection, time_ns = next(source)
            began, began_cpu = time.perf_counter(), time.thread_time()
            stage_of(detection, time_ns)
            times_ms[key].append((1e3 * (time.perf_counter() - began), 1e3 * (time.thread_time() - began_cpu)))
    rows: list[dict[str, object]] = []
    for (count, name), values in times_ms.items():
        (p50, _), (p90, cpu_p90) = np.percentile(values[WARM_UP:], [50, 90], axis=0).round(3).tolist()
        rows.append({"boxes": count, "counts": name, "p50_ms": p50, "p90_ms": p90, "cpu_p90_ms": cpu_p90})
    return rows


def optimal(similarity: np.ndarray, minimum: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs with the largest sum of similarities."""
    from scipy.optimize import linear_sum_assignment

    allowed = np.where(similarity >= minimum, similarity, 0)
    rows, columns = linear_sum_assignment(-allowed)
    kept = allowed[rows, columns] > 0
    return rows[kept], columns[kept]


def crowd(count: int, seed: int) -> list[ObjectPath]:
    """Return paths of objects that cross each other in random directions."""
    rng = np.random.default_rng(seed)

    def straight(start: np.ndarray, speed: np.ndarray) -> ObjectPath:
        return lambda time_s: tuple(start + speed * time_s)

    return [straight(rng.random(2), rng.normal(0, 0.1, 2)) for _ in range(count)]


def compare_assignments() -> list[dict[str, object]]:
    """Return identity switches and IDF1 with both assignments, for the same scenes."""
    rows: list[dict[str, object]] = []
    for count in (10, 20, 40):
        for rate_hz in (30.0, 10.0):
            scenes = [
                Scene(crowd(count, seed), rate_hz=rate_hz, missed=0.1, weak=0.1, false_alarms=0.5, seed=seed)
                for seed in range(SEEDS)
            ]
            greedy = [quality(scene.truth, track(scene, Tracker(Track(), 0.5))) for scene in scenes]
            with mock.patch.object(tracker_module, "assign", optimal):
                best = [quality(scene.truth, track(scene, Tracker(Track(), 0.5))) for scene in scenes]
            row: dict[str, object] = {"objects": count, "rate_hz": rate_hz}
            for name, results in (("greedy", greedy), ("optimal", best)):
                row[f"{name}_switches"] = round(float(np.mean([one.switches for one in results])), 2)
                row[f"{name}_idf1"] = round(float(np.mean([one.idf1 for one in results])), 3)
            rows.append(row)
    return rows


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assignment", action="store_true", help="compare the greedy assignment with the optimal one")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    rows = compare_assignments() if arguments.assignment else measure_times()
    if arguments.json:
        print(json.dumps(rows))
        return
    print("  ".join(rows[0]))
    for row in rows:
        print("  ".join(f"{value!s:>{len(name)}}" for name, value in row.items()))


if __name__ == "__main__":
    main()

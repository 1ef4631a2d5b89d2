"""Count the false alarms and misses of the guard on labelled images, and measure its time for a 720p frame.

    python tests/perf/guard.py IMAGES [IMAGES ...] [--count 100] [--json]

IMAGES is a folder or a zip file with images. Each image is checked as it is (every finding is a false alarm), and in
five unusable forms: black with noise, overexposed, out of focus, covered by a smooth surface, and repeated for two
seconds. An unusable form that is not found is a miss.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from orilla.runtime.loop.guard import CHECKS, Guard

SUFFIXES = (".jpg", ".jpeg")
"""Suffixes of images. The masks of segmentation data sets are PNG files, which are not frames of a camera."""
BLUR_SHARE = 0.012
"""Standard deviation of the blur as a share of the image's width."""


def images(path: Path, count: int) -> Iterator[np.ndarray]:
    """Yield up to `count` images of a folder or zip file, spread evenly."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(SUFFIXES)]
            for name in names[:: max(1, len(names) // count)][:count]:
                yield cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR)
        return
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    for file in files[:: max(1, len(files) // count)][:count]:
        image = cv2.imread(str(file))
        if image is not None:
            yield image


def unusable(image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the image in unusable forms, by the name of the check that must find each."""
    height, width = image.shape[:2]
    ramp = np.linspace(80, 120, width)[None, :, None] + np.linspace(0, 20, height)[:, None, None]
    return {
        "dark": np.clip(rng.normal(4, 3, image.shape), 0, 255).astype(np.uint8),
        "bright": np.clip(image.astype(np.int16) // 16 + 242, 0, 255).astype(np.uint8),
        "blurred": cv2.GaussianBlur(image, (0, 0), BLUR_SHARE * width),
        "covered": np.clip(ramp + rng.normal(0, 0.8, image.shape), 0, 255).astype(np.uint8),
    }


def figures(path: Path, count: int) -> dict[str, object]:
    """Return the number of images, the false alarms, and the misses, by the name of the check."""
    rng, total = np.random.default_rng(0), 0
    alarms: Counter[str] = Counter()
    misses: Counter[str] = Counter()
    for image in images(path, count):
        total += 1
        alarms.update(Guard(tuple(CHECKS)).doubts(image, 0))
        for name, changed in unusable(image, rng).items():
            misses[name] += name not in Guard((name,)).doubts(changed, 0)
        frozen = Guard(("frozen",))
        found = [frozen.doubts(image, number * 100_000_000) for number in range(20)]
        misses["frozen"] += ("frozen",) not in found
    return {"images": total, "false_alarms": dict(alarms), "misses": {name: misses[name] for name in CHECKS}}


def milliseconds() -> float:
    """Return the median CPU time of one check of a 720p frame, in milliseconds."""
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8), (1280, 720))
    guard, times = Guard(tuple(CHECKS)), []
    for number in range(300):
        began = time.thread_time()
        guard.doubts(image, number)
        times.append(time.thread_time() - began)
    return round(1e3 * float(np.median(times)), 4)


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = {path.name: figures(path, arguments.count) for path in arguments.paths}
    cost_ms = milliseconds()
    if arguments.json:
        print(json.dumps({"cost_ms": cost_ms, "sets": rows}, indent=2))
        return 0
    for name, row in rows.items():
        print(f"{name}: {row['images']} images, false alarms {row['false_alarms']}, misses {row['misses']}")
    print(f"{cost_ms} ms of CPU time for a 720p frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())

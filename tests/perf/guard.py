"""Count the false alarms and misses of the guard on images, and measure its time for a 720p frame.

    python tests/perf/guard.py IMAGES [IMAGES ...] [--bundle road] [--count 100] [--json]

IMAGES is a folder or a zip file with images, or `scenes` or `patterns` for computer-generated images. Each image is
checked unchanged: every finding is a false alarm, but `unfamiliar` is correct for images that differ in kind from the
bundle's calibration data. Each image is also checked in unusable forms. `dark` must find black with noise, `bright`
overexposure, `blurred` defocus, `covered` a smooth surface, and `frozen` two seconds of repetition. For a road,
`unfamiliar` must find the upside-down image and the negative. An unusable form that no check finds is a miss. Images
with a mean grey level below 60 are also counted separately, as night.
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

from orilla.runtime.frame import Frame
from orilla.runtime.loop.guard import CHECKS, Guard
from orilla.runtime.model import Model
from orilla.runtime.sources.registry import open_source

GENERATED = ("scenes", "patterns")
NIGHT_LEVEL = 60
"""Images whose mean level over all colours is below this value count as night."""

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


def generated(name: str, count: int) -> Iterator[np.ndarray]:
    """Yield computer-generated road scenes, or test patterns."""
    if name == "scenes":
        for seed in range(max(1, count // 10)):
            source = open_source(f"scenes:{seed}")
            for _ in range(10):
                frame = source.read()
                assert isinstance(frame, Frame)
                yield frame.image
            source.close()
        return
    down, across = np.mgrid[:480, :640]
    bars = np.array(
        [[192, 192, 192], [0, 192, 192], [192, 192, 0], [0, 192, 0], [192, 0, 192], [0, 0, 192], [192, 0, 0]]
    )
    yield bars[across * 7 // 640].astype(np.uint8)
    for grey in ((down // 20 + across // 20) % 2 * 255, across * 255 // 640, down * 255 // 480, across // 4 % 2 * 255):
        yield np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)
    yield np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)


def unusable(image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the image in unusable forms. The keys are the names of the checks that must find them."""
    height, width = image.shape[:2]
    ramp = np.linspace(80, 120, width)[None, :, None] + np.linspace(0, 20, height)[:, None, None]
    return {
        "dark": np.clip(rng.normal(4, 3, image.shape), 0, 255).astype(np.uint8),
        "bright": np.clip(image.astype(np.int16) // 16 + 242, 0, 255).astype(np.uint8),
        "blurred": cv2.GaussianBlur(image, (0, 0), BLUR_SHARE * width),
        "covered": np.clip(ramp + rng.normal(0, 0.8, image.shape), 0, 255).astype(np.uint8),
    }


def figures(name: str, count: int, model: Model) -> dict[str, object]:
    """Return the number of images, the findings, and the misses. The keys are the names of the checks."""
    rng, total, night = np.random.default_rng(0), 0, 0
    found: Counter[str] = Counter()
    misses: Counter[str] = Counter()
    stages = model.stages()
    for image in generated(name, count) if name in GENERATED else images(Path(name), count):
        total += 1
        doubts = Guard(tuple(CHECKS), model.familiarity).doubts(image, 0, stages.prepare(image))
        found.update(doubts)
        if image.mean() < NIGHT_LEVEL:
            night += 1
            found["unfamiliar at night"] += "unfamiliar" in doubts
        for check, changed in unusable(image, rng).items():
            misses[check] += check not in Guard((check,)).doubts(changed, 0)
        for form, changed in {"upside down": np.ascontiguousarray(image[::-1]), "negative": 255 - image}.items():
            unfamiliar = Guard(("unfamiliar",), model.familiarity).doubts(changed, 0, stages.prepare(changed))
            misses[f"unfamiliar: {form}"] += not unfamiliar
        frozen = Guard(("frozen",))
        misses["frozen"] += ("frozen",) not in [frozen.doubts(image, number * 100_000_000) for number in range(20)]
    return {"images": total, "night": night, "found": dict(found), "misses": dict(misses)}


def milliseconds(model: Model) -> float:
    """Return the median CPU time of all checks of a 720p frame, in milliseconds."""
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8), (1280, 720))
    guard, times, prepared = Guard(tuple(CHECKS), model.familiarity), [], model.stages().prepare(image)
    for number in range(1000):
        began = time.thread_time()
        guard.doubts(image, number, prepared)
        times.append(time.thread_time() - began)
    return round(1e3 * float(np.median(times)), 4)


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--bundle", default="road")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with Model.open(arguments.bundle) as model:
        rows = {Path(name).name: figures(name, arguments.count, model) for name in arguments.images}
        cost_ms = milliseconds(model)
    if arguments.json:
        print(json.dumps({"cost_ms": cost_ms, "sets": rows}, indent=2))
        return 0
    for name, row in rows.items():
        print(f"{name}: {row['images']} images ({row['night']} at night), found {row['found']}, missed {row['misses']}")
    print(f"{cost_ms} ms of CPU time for a 720p frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())

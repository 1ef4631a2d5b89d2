"""Compare road bundles on the streets of several data sets, and on frames without a road.

    python tests/perf/roads.py BUNDLE [BUNDLE ...] --data camvid.zip --data idd_lite.zip [--empty no_road]
                               [--empty PHOTOS] [--sheets FOLDER] [--json]

Every variant of every bundle answers all samples of the splits `val` and `test`, which no training of Orilla uses. The
table states for each `--data` the IoU of the road with its 95 % interval, and the expected calibration error `ece` of
its probability: the difference between the probability and the share of road among the cells with this probability,
averaged over the cells in 15 bins. Source: Guo et al., "On Calibration of Modern Neural Networks" (2017).

For each `--empty`, whose frames show no road, the table states the share of pixels in which the model finds road, as a
mean, and the share of frames in which it exceeds 1 %. Black, white, noise and a test pattern are always measured.
`--sheets` writes a PNG for each data set in which found road is green, missed road is red, and other pixels that were
classified as road are blue.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader
from orilla.runtime.evaluation.datasets import Dataset, LabelledImage, Sample, open_dataset
from orilla.runtime.evaluation.datasets.raw import prepared
from orilla.runtime.evaluation.targets import target_of, truth_of
from orilla.runtime.preprocessing.tensor_spec import only

TILE_HW = (135, 180)
COLUMNS, ROWS = 8, 6
BINS = 15
MARKED = 0.01
"""Share of road above which a frame without a road counts as wrong."""


def held_out(dataset: Dataset) -> Iterator[Sample]:
    """Yield the samples of `val` and `test`."""
    for split in dataset.splits:
        if split != "train":
            yield from (dataset.load(split, index) for index in range(len(dataset.names(split))))


def constant_frames() -> dict[str, NDArray[np.uint8]]:
    """Return frames that a covered, overexposed or disconnected camera delivers, `[270,480,3]`."""
    shape = (270, 480, 3)
    rng = np.random.default_rng(0)
    bars = np.tile(np.repeat(rng.integers(0, 2, (8, 3)) * 255, 60, axis=0), (shape[0], 1, 1))
    return {
        "black": np.zeros(shape, np.uint8),
        "grey": np.full(shape, 128, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "noise": rng.integers(0, 256, shape, np.uint8),
        "bars": bars.astype(np.uint8),
    }


class Calibration:
    """Compares the probability of the road with its frequency, over the cells of all answers."""

    def __init__(self, dataset: Dataset) -> None:
        self._road = dataset.classes.index("road")
        self._ignore = dataset.ignore
        self._sums = np.zeros((3, BINS))

    def add(self, sample: Sample, probability: NDArray[np.float32]) -> None:
        """Add the probability of the road at each cell of an answer, `[h,w]`."""
        assert isinstance(sample, LabelledImage)
        labels = cv2.resize(sample.labels, probability.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        known = labels != self._ignore
        values, road = probability[known], labels[known] == self._road
        bins = np.minimum((values * BINS).astype(int), BINS - 1)
        self._sums += [np.bincount(bins, weights=w, minlength=BINS) for w in (np.ones_like(values), values, road)]

    def error(self) -> float:
        """Return the expected calibration error, 0-1."""
        count, probability, road = self._sums
        return float(np.abs(probability - road).sum() / count.sum())


class Answers:
    """The road masks of one variant."""

    def __init__(self, bundle: Bundle, variant: Variant) -> None:
        self._bundle, self._variant = bundle, variant
        self._preprocessor = bundle.preprocessor()
        self._session = loader.load(bundle, variant)

    def close(self) -> None:
        self._session.close()

    def probability(self, sample: Sample) -> NDArray[np.float32]:
        """Return the probability of the road at each cell of the output."""
        return only(self._session.run(prepared(sample, self._preprocessor)))[..., 0]

    def iou(self, dataset: Dataset) -> dict[str, float]:
        """Return the IoU of the road with its interval, and the expected calibration error of its probability."""
        manifest = self._bundle.manifest
        calibration = Calibration(dataset)

        def pairs() -> Iterator[tuple[Any, Any]]:
            for sample in held_out(dataset):
                outputs = self._session.run(prepared(sample, self._preprocessor))
                calibration.add(sample, only(outputs)[..., 0])
                yield truth_of(sample), outputs

        metrics = target_of(dataset, manifest.task, manifest.context).metrics(pairs())
        low, high = metrics.intervals()["iou"]
        return {"iou": metrics.metrics()["iou"], "low": low, "high": high, "ece": calibration.error()}

    def shares(self, dataset: Dataset) -> NDArray[np.float64]:
        """Return the share of road in each frame."""
        return np.array([(self.probability(sample) > 0.5).mean() for sample in held_out(dataset)])

    def constants(self) -> dict[str, float]:
        """Return the share of road in each of `constant_frames`."""
        frames = constant_frames()
        labels = np.zeros((270, 480), np.uint8)
        samples = {name: LabelledImage(name, image, labels) for name, image in frames.items()}
        return {name: float((self.probability(sample) > 0.5).mean()) for name, sample in samples.items()}

    def sheet(self, dataset: Dataset) -> NDArray[np.uint8]:
        """Return evenly spread samples with the answers of the model."""
        samples = list(held_out(dataset))
        road = dataset.classes.index("road") if "road" in dataset.classes else -1
        tiles = [
            self._tile(sample, road, dataset.ignore) for sample in samples[:: -(-len(samples) // (COLUMNS * ROWS))]
        ]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
        return np.vstack([np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)])

    def _tile(self, sample: Sample, road: int, ignore: int) -> NDArray[np.uint8]:
        size = TILE_HW[::-1]
        image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
        found = cv2.resize(self.probability(sample), size) > 0.5
        labels = getattr(sample, "labels", np.zeros(sample.image.shape[:2], np.uint8))
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        known, true = labels != ignore, labels == road
        for mask, colour in ((found & true, 1), (~found & true, 2), (found & ~true & known, 0)):
            image[mask, colour] = 128 + image[mask, colour] // 2
        return image


def measure(answers: Answers, arguments: argparse.Namespace, name: str) -> dict[str, object]:
    result: dict[str, object] = {"bundle": name, "constant": answers.constants()}
    for spec in arguments.data:
        result[Path(spec).name] = answers.iou(open_dataset(spec))
    for spec in arguments.empty:
        shares = answers.shares(open_dataset(spec))
        result[Path(spec).name] = {"mean": float(shares.mean()), "wrong": float((shares > MARKED).mean())}
    if arguments.sheets is not None:
        arguments.sheets.mkdir(parents=True, exist_ok=True)
        for spec in [*arguments.data, *arguments.empty]:
            sheet = answers.sheet(open_dataset(spec))
            cv2.imwrite(str(arguments.sheets / f"{name.replace(' ', '-')}-{Path(spec).stem}.png"), sheet)
    return result


def show(result: dict[str, object]) -> None:
    print(result.pop("bundle"))
    for name, values in result.items():
        print(f"  {name:24}", "  ".join(f"{key} {value:.4f}" for key, value in values.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+")
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--empty", action="append", default=[])
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = []
    for path in arguments.bundles:
        bundle = Bundle.open(path)
        for variant in bundle.manifest.variants:
            with closing(Answers(bundle, variant)) as answers:
                results.append(measure(answers, arguments, f"{Path(path).stem} {variant.name}"))
            if not arguments.json:
                show(dict(results[-1]))
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""Compare the frame rate of the camera loop with its upper bound: the rate of the slowest stage when it runs alone.

    python tests/perf/loop.py                      the shipped road bundle on a 720p clip that is rendered first
    python tests/perf/loop.py --clip drive.mp4     a clip of your own
    python tests/perf/loop.py --json               {"stages_ms": …, "bound_fps": …, "fps": …, "bound_ratio": …}
    python tests/perf/loop.py --workers            frame rate with all workers that increase it, compared with one
    worker and with a hand-written loop of one interpreter per core

Each round measures every stage alone, and then the loop on the same frames, so that a disturbance affects both. The
figures are medians over the rounds. `spread` contains the lowest and the highest ratio of all rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

import orilla.runtime
from orilla.devices.cores import available_cores
from orilla.devices.detect import detect
from orilla.runtime import scenes
from orilla.runtime.model import Model
from orilla.runtime.preprocessing.image import Preprocess, Preprocessor
from orilla.runtime.preprocessing.tensor_spec import only
from orilla.runtime.sinks.jsonl import Options, open_sink
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sources.registry import open_source
from orilla.runtime.tasks.segment import decode

SIZE_HW = (720, 1280)


def draw_clip(path: Path, frames: int) -> None:
    """Render a 720p clip of a drive. All frames of the clip differ."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, SIZE_HW[::-1])
    still = [scenes.render(7, index / 30, SIZE_HW)[0] for index in range(20)]
    for index in range(frames):
        forth = index % 38
        writer.write(still[forth if forth < 20 else 38 - forth])
    writer.release()


def each(work: Callable[[], object], count: int) -> float:
    """Return the mean time of a call in milliseconds, over `count` calls."""
    started = time.perf_counter()
    for _ in range(count):
        work()
    return 1e3 * (time.perf_counter() - started) / count


def stages_alone(model: Model, clip: Path, frames: int, sink: Sink) -> dict[str, float]:
    """Return the time of each stage in milliseconds while nothing else runs."""
    source = open_source(clip)
    capture_ms = each(source.read, frames)
    source.close()
    source = open_source(clip)
    image = source.read().image  # type: ignore[union-attr]
    prepare = Preprocessor(model.bundle.manifest.preprocess)
    prepared = prepare(image).copy()
    out = np.empty_like(prepared)
    output = only(model.session.run(prepared))
    figures = {
        "capture": capture_ms,
        "prepare": each(lambda: prepare(image, out), frames),
        "infer": each(lambda: model.session.run(prepared), frames),
        "decode": each(lambda: decode(output, image.shape[:2], "road"), frames),
        "sink": each(lambda: sink.write(model(image)), frames) - each(lambda: model(image), frames),
    }
    source.close()
    return figures


def loop_fps(model: Model, clip: Path, sink: Sink, workers: int | None = None) -> float:
    """Return the frames per second of the loop with the sink `jsonl`, from the first to the last answer."""
    ticks = model.stream(clip, workers=workers)
    sink.write(next(ticks))
    started, count = time.perf_counter(), 0
    for tick in ticks:
        sink.write(tick)
        count += 1
    return count / (time.perf_counter() - started)


def by_hand_fps(data: bytes, spec: Preprocess, clip: Path, count: int) -> float:
    """Return the frames per second of a hand-written loop, from the first to the last answer.

    Each of `count` threads has its own interpreter. In turn, the threads decode a frame with OpenCV, and then resize
    it to the same pixels as Orilla, run the network and compute the share of road pixels. This loop does not put the
    answers in order.
    """
    from ai_edge_litert.interpreter import Interpreter

    capture, reading, ends_s = cv2.VideoCapture(str(clip)), threading.Lock(), []

    def work() -> None:
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        prepare = Preprocessor(spec)
        (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
        scale, zero = inputs["quantization"]
        table = (np.arange(256) / scale + zero).round().astype(inputs["dtype"])
        scale, zero = outputs["quantization"]
        while True:
            with reading:
                ok, image = capture.read()
            if not ok:
                return
            interpreter.set_tensor(inputs["index"], cv2.LUT(prepare(image), table)[None])
            interpreter.invoke()
            probability = (interpreter.get_tensor(outputs["index"]).astype(np.float32) - zero) * scale
            assert 0 <= (probability >= 0.5).mean() <= 1
            ends_s.append(time.perf_counter())

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.release()
    return (len(ends_s) - 1) / (max(ends_s) - min(ends_s))


def compare_workers(model: Model, clip: Path, folder: Path, rounds: int) -> dict[str, object]:
    """Measure the loop with all workers, the loop with one worker and a hand-written loop in turn.

    The sink writes its file into `folder`.
    """
    data, spec = model.bundle.read(model.variant.file), model.bundle.manifest.preprocess
    rows = []
    with closing(open_sink(str(folder / "answers.jsonl"), Options(), Setup())) as sink:
        for _ in range(rounds + 1):
            all_fps, one_fps = loop_fps(model, clip, sink), loop_fps(model, clip, sink, workers=1)
            rows.append((all_fps, one_fps, by_hand_fps(data, spec, clip, available_cores())))
    columns = list(zip(*rows[1:], strict=True))
    names = ("workers", "one_worker", "by_hand")
    figures: dict[str, object] = {
        "machine": str(detect()),
        "variant": model.variant.name,
        "rounds": rounds,
        "max_workers": model.max_workers,
        "fps": {name: round(statistics.median(column), 1) for name, column in zip(names, columns, strict=True)},
    }
    for name, column in zip(names[1:], columns[1:], strict=True):
        ratios = sorted(first / other for first, other in zip(columns[0], column, strict=True))
        figures[f"to_{name}"] = round(statistics.median(ratios), 3)
        figures[f"to_{name}_spread"] = [round(ratios[0], 3), round(ratios[-1], 3)]
    return figures


def measure(model: Model, clip: Path, folder: Path, rounds: int) -> dict[str, object]:
    """Measure the stages and the loop alternately. Return the medians.

    The sink writes its file into `folder`.
    """
    source = open_source(clip)
    frames = sum(1 for _ in iter(source.read, None)) - 1
    source.close()
    with closing(open_sink(str(folder / "answers.jsonl"), Options(), Setup())) as sink:
        loop_fps(model, clip, sink)
        rows = [
            (stages_alone(model, clip, frames, sink), loop_fps(model, clip, sink, workers=1)) for _ in range(rounds)
        ]
    stages = {name: statistics.median(row[0][name] for row in rows) for name in rows[0][0]}
    fps = statistics.median(row[1] for row in rows)
    ratios = sorted(row[1] * max(row[0].values()) / 1e3 for row in rows)
    return {
        "machine": str(detect()),
        "variant": model.variant.name,
        "frames": frames,
        "rounds": rounds,
        "stages_ms": {name: round(value, 3) for name, value in stages.items()},
        "sequential_fps": round(1e3 / sum(stages.values()), 1),
        "bound_fps": round(1e3 / max(stages.values()), 1),
        "fps": round(fps, 1),
        "bound_ratio": round(statistics.median(ratios), 3),
        "spread": [round(ratios[0], 3), round(ratios[-1], 3)],
    }


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="road")
    parser.add_argument("--variant")
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--frames", type=int, default=400, help="number of frames of the clip that is rendered")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", action="store_true", help="compare different numbers of inference workers")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        orilla.runtime.open(arguments.bundle, variant=arguments.variant) as model,
    ):
        clip = arguments.clip or Path(folder, "clip.mp4")
        if arguments.clip is None:
            draw_clip(clip, arguments.frames)
        figures = (compare_workers if arguments.workers else measure)(model, clip, Path(folder), arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    if arguments.workers:
        print("\n".join(f"{name:<22}{value}" for name, value in figures.items()))
        return 0
    for name, value in figures["stages_ms"].items():  # type: ignore[attr-defined]
        print(f"{name:<10} {value:8.3f} ms alone")
    print(
        f"one after the other {figures['sequential_fps']} frames/s, bound {figures['bound_fps']} (slowest stage alone)"
    )
    print(f"loop {figures['fps']} frames/s = {figures['bound_ratio']} of the bound (rounds: {figures['spread']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())

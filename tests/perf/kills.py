"""Kill `orilla run` at random instants. Then check the files of its sinks and the messages of the next start.

    python tests/perf/kills.py [--kills 50] [--seed 0]

Each run answers 20 frames per second and writes to all sinks that write files. It receives SIGKILL between 1 s and 6 s
after its first answer. The same command is then started again and stopped, and its messages are counted. At the end,
every video is decoded with PyAV, and every JSON line, table row, image and recording is parsed. Missing entries are
determined by comparison with the images, which are written immediately.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import cv2
from mcap.reader import make_reader

RATE_HZ = 20
LIMIT_S = 1.5
"""Largest age in seconds of the newest entry in a file: one second, plus the time in which a sink writes a frame."""

SINKS = {
    "jsonl": "%Y%m%d-%H%M%S.jsonl?every=2s",
    "csv": "%Y%m%d-%H%M%S.csv?every=2s",
    "video": "%Y%m%d-%H%M%S.mp4?every=2s",
    "matroska": "%Y%m%d-%H%M%S.mkv?every=2s",
    "clip": "%Y%m%d-%H%M%S.mp4?on=change&every=2s",
    "mcap": "%Y%m%d-%H%M%S.mcap?every=2s",
    "frames": "",
}


def command(folder: Path) -> list[str]:
    """Return the command whose sinks write into the folder."""
    words = [
        sys.executable,
        "-m",
        "orilla.runtime.cli",
        "run",
        "road",
        "--source",
        "scenes",
        "--policy",
        f"rate:{RATE_HZ}",
    ]
    for name, target in SINKS.items():
        words += ["--sink", f"{'video' if name == 'matroska' else name}:{folder}/{name}/{target}"]
    return words


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the loop, and wait for its first answer."""
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    before = set(folder.glob("frames/*"))
    while set(folder.glob("frames/*")) <= before:
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the loop did not start: {process.stderr.read() if process.stderr else ''}")
        time.sleep(0.02)
    return process


def video_frames(path: Path) -> int:
    """Decode a whole video, and return its number of frames. The next start has removed videos without an image."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def clip_frames(path: Path) -> int:
    """Decode a whole clip, parse the lines beside it, and return its number of frames."""
    if path.suffix == ".jsonl":
        json_lines(path)
        return 0
    return video_frames(path)


def mcap_frames(path: Path) -> int:
    """Return the number of frames in a recording."""
    with path.open("rb") as file:
        return sum(channel.topic.endswith("/json") for _, channel, _ in make_reader(file).iter_messages())


def json_lines(path: Path) -> int:
    """Parse all lines, and return the number of lines."""
    return len([json.loads(line) for line in path.read_text().splitlines()])


def csv_rows(path: Path) -> int:
    """Parse all rows, and return the number of rows without the first one."""
    rows = list(csv.reader(path.read_text().splitlines()))
    assert len({len(row) for row in rows}) == 1, f"{path}: rows of different lengths"
    return len(rows) - 1


def image(path: Path) -> int:
    """Decode an image."""
    assert cv2.imread(str(path)) is not None, path
    return 1


READERS = {
    "jsonl": json_lines,
    "csv": csv_rows,
    "video": video_frames,
    "matroska": video_frames,
    "clip": clip_frames,
    "mcap": mcap_frames,
    "frames": image,
}


def main() -> None:
    """Kill the loop repeatedly, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    missing: dict[str, list[float]] = {name: [] for name in SINKS}
    told: Counter[str] = Counter()
    for _ in range(options.kills):
        with tempfile.TemporaryDirectory() as folder:
            one_kill(Path(folder), draw.uniform(1, 6), missing, told)
    for name, values in missing.items():
        print(f"{name}: all files are readable after {len(values)} kills; at most {max(values):.2f} s are missing")
    for text, count in told.most_common():
        print(f"{count} x {text}")


def one_kill(folder: Path, after_s: float, missing: dict[str, list[float]], told: Counter[str]) -> None:
    """Kill a loop, start and stop the next one, and read all files."""
    process = start(folder)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = {name: sorted((folder / name).iterdir()) for name in SINKS}
    written = len(left["frames"])
    time.sleep(1)  # A new second, because the names of the files contain seconds.
    process = start(folder)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    told.update(kind(line) for line in errors.splitlines() if "left" in line)
    for name, files in left.items():
        readable = sum(READERS[name](path) for path in files if path.exists())
        missing[name].append(max(0, written - readable) / RATE_HZ)
        assert missing[name][-1] <= LIMIT_S, f"{name}: {written} frames were written, and {readable} can be read"


def kind(line: str) -> str:
    """Return a message without the name and the size of its file."""
    return " ".join(word for word in line.split() if "/" not in word and not word.isdigit())


if __name__ == "__main__":
    main()

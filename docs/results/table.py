"""Write README.md from the cards in this folder: `python docs/results/table.py [--check]`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PRIMARY_METRIC = {"segment": "iou", "detect": "map50", "classify": "accuracy", "text": "accuracy"}

HEAD = """# Results

Each row is one training run. Its card is stored here as JSON. No epoch or setting was chosen on the reported split.
The column "held out" shows the number of held-out training samples on which an epoch was chosen, and the metric on
them. The intervals are 95 % bootstrap intervals over the samples. The seconds are wall time, on machines that
sometimes did other work. The command `python docs/results/table.py` writes this page from the cards.

`road-worlds-0` is the model that ships. It learned from CamVid and six other data sets, and started with the weights of
`road-0` (see [zoo.md](../zoo.md)). Its card lists its accuracy on each data set.

`road-0` was trained on CamVid only, and shipped before. To test the same training settings on unseen roads, other runs
were trained without one sequence of CamVid. The IoU on that sequence is 0.944 by day (`road-0006R0`; nothing was chosen
on this sequence) and 0.911 at dusk (`road-dusk`; the settings were chosen on this sequence, `0001TP`). `road-close5`
and `road-dusk-close5` were trained with 5 % instead of 12 % close-ups. `road-plain` was trained with weaker
augmentation, and its whole encoder was trained.

`detect-0` finds the pedestrians of Penn-Fudan (136 training images, 34 images in `val`). Its figure is mAP at an IoU of
0.5; mAP@[.5:.95] is 0.615. The machine was busy with other work during the training. The next table lists the variants
that `orilla export detect-0 --out detect.orilla` builds, measured on the same 34 images:

| variant | mAP50 | drop, points | mAP@[.5:.95] | MiB | p50 ms, 1 thread |
|---|---:|---:|---:|---:|---:|
| original | 0.9590 | | 0.6152 | | |
| `litert_fp32` | 0.9590 | 0.00 | 0.6152 | 4.63 | 14.2 |
| `litert_wi8_ai8` | 0.9592 | −0.03 | 0.6142 | 1.37 | 5.6 |
| `litert_wi8_ai8_u8` | 0.9594 | −0.05 | 0.6193 | 1.37 | 6.7 |
| `onnx_wi8_ai8` | 0.9588 | 0.01 | 0.6127 | 1.46 | 27.0 |

According to the prediction of `orilla edgetpu detect.orilla --variant litert_wi8_ai8_edgetpu`, all 95 operators of this
variant would run on the Edge TPU.

`segment-0` distinguishes the 11 classes of CamVid. Its figure is the mean IoU. The IoU of roads is 0.97, that of cars
0.75 and that of poles, which are a few pixels wide, only 0.09. The machine was busy with other work during the
training. Exported with `orilla export segment-0 --golden scenes --out segment.orilla`, the variants have on the same
101 images:

| variant | mean IoU | drop, points | MiB | p50 ms, 1 thread |
|---|---:|---:|---:|---:|
| original | 0.6848 | | | |
| `litert_fp32` | 0.6848 | 0.00 | 2.51 | 31.2 |
| `litert_wi8_ai8` | 0.6840 | 0.08 | 0.79 | 13.1 |
| `litert_wi8_ai8_u8` | 0.6836 | 0.12 | 0.79 | 13.5 |

`vgg` starts with pre-trained weights in VGG19's blocks 1 to 3 only, and learns blocks 4 and 5 from scratch. It reaches
an accuracy of 0.88 with 2,000 images and 0.94 with 8,000. For ImageNet weights in all five blocks, 0.972 is published.
`vgg-features` uses the features of block 3. For the features of all five blocks, 0.889 is published.

| run | model | reported | figure | interval | held out | epochs | seconds | seed | parameters |
|---|---|---|---:|---|---|---:|---:|---:|---:|
"""


def page() -> str:
    """Return the content of the page, in Markdown."""
    cards = {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))}
    rows = "".join(row(name, card) for name, card in cards.items())
    commands = "\n".join(f"| {name} | `{card['command']}` | {start_weights(card)} |" for name, card in cards.items())
    machines = sorted({f"{card['machine']}, {precision(card)}" for card in cards.values()})
    table = f"{HEAD}{rows}\nMachines: {'; '.join(machines)}.\n"
    return f"{table}\n{seeds(cards)}\n| run | command | started from |\n|---|---|---|\n{commands}\n"


def seeds(cards: dict[str, dict[str, Any]]) -> str:
    """Return a table with the mean and the range of runs that differ only in their seed: NAME-0, NAME-1, ..."""
    groups: dict[str, list[float]] = {}
    for name, card in cards.items():
        figure = card["measured"][0]["metrics"][PRIMARY_METRIC[card["task"]]]
        model, _, seed = name.rpartition("-")
        if seed.isdigit():
            groups.setdefault(model, []).append(figure)
    rows = [
        f"| {name} | {len(figures)} | {statistics.mean(figures):.4f} | {min(figures):.4f} – {max(figures):.4f} |"
        for name, figures in groups.items()
        if len(figures) > 1
    ]
    return "\n".join(["| model | seeds | mean | range |", "|---|---:|---:|---|", *rows, ""])


def row(name: str, card: dict[str, Any]) -> str:
    """Return the row of one training run."""
    reported, metric = card["measured"][0], PRIMARY_METRIC[card["task"]]
    low, high = reported["intervals"][metric]
    chosen = [split for split in card["data"]["splits"] if split["name"] == "choose"]
    held_out = f"{chosen[0]['count']} samples, {card['measured'][1]['metrics'][metric]:.4f}" if chosen else "nothing"
    data = " + ".join(source["name"] for source in card["data"]["sources"])
    cells = [
        f"[{name}]({name}.json)",
        card["model"],
        f"{data} {reported['split']}",
        f"{metric} {reported['metrics'][metric]:.4f}",
        f"{low:.4f} – {high:.4f}",
        held_out,
        card["epochs"],
        f"{card['seconds']:.0f}",
        card["seed"],
        f"{card['parameters']:,}",
    ]
    return f"| {' | '.join(map(str, cells))} |\n"


def start_weights(card: dict[str, Any]) -> str:
    """Return the table cell with the initial weights of a run."""
    return "random" if card["start_weights"] == "random" else f"`{card['start_weights']}`"


def precision(card: dict[str, Any]) -> str:
    """Return the precision of a run's arithmetic."""
    return "float32" if card["precision"] == "float32" else f"mixed {card['precision']}"


if __name__ == "__main__":
    target = HERE / "README.md"
    if "--check" in sys.argv:
        sys.exit(0 if target.read_text() == page() else "README.md is out of date: run python docs/results/table.py")
    target.write_text(page())

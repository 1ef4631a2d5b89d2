"""Write README.md from the cards in this folder: `python docs/results/table.py [--check]`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PRIMARY_METRIC = {"segment": "iou", "classify": "accuracy", "text": "accuracy"}

HEAD = """# Results

Each row is one training run. Its card is stored here as JSON. No epoch or setting was chosen on the reported split.
The column "held out" shows the training samples on which an epoch was chosen, if any. Intervals are 95 % intervals
from a bootstrap over samples. Seconds are wall time, on machines that sometimes did other work. The
command `python docs/results/table.py` writes this page from the cards.

`road-0` was trained with the documented command. It is the model that ships. Without a sequence in its training data,
the same recipe reaches 0.944 on it by day (`road-0006R0`; nothing was chosen on it) and 0.911 at dusk (`road-dusk`,
the sequence `0001TP`, on which the recipe was chosen). The shipped `road`, which was trained on those images too,
reaches 0.92 on them (put them into `DIR/val` and `DIR/valannot`, then run `orilla verify road --data DIR`).
`road-close5` and `road-dusk-close5` had 5 % instead of 12 % close-ups. `road-plain` had weaker augmentation and
trained the whole encoder.

`vgg` starts from VGG19's blocks 1 to 3 only and learns blocks 4 and 5 from scratch. It reaches 0.88 with 2,000 images
and 0.94 with 8,000; 0.972 is published for ImageNet weights in all five blocks. `vgg-features` uses the features of
block 3; 0.889 is published for the features of all five blocks.

| run | model | reported | figure | interval | held out | epochs | seconds | seed | parameters |
|---|---|---|---:|---|---|---:|---:|---:|---:|
"""


def page() -> str:
    """Return the text of the page."""
    cards = {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))}
    rows = "".join(row(name, card) for name, card in cards.items())
    commands = "\n".join(f"| {name} | `{card['command']}` | {start_weights(card)} |" for name, card in cards.items())
    machines = sorted({f"{card['machine']}, {precision(card)}" for card in cards.values()})
    table = f"{HEAD}{rows}\nMachines: {'; '.join(machines)}.\n"
    return f"{table}\n{seeds(cards)}\n| run | command | started from |\n|---|---|---|\n{commands}\n"


def seeds(cards: dict[str, dict[str, Any]]) -> str:
    """Return mean and spread of runs that differ only by their seed: NAME-0, NAME-1, ..."""
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
    """Return the initial weights as a cell."""
    return "random" if card["start_weights"] == "random" else f"`{card['start_weights']}`"


def precision(card: dict[str, Any]) -> str:
    """Return the precision of the arithmetic."""
    return "float32" if card["precision"] == "float32" else f"mixed {card['precision']}"


if __name__ == "__main__":
    target = HERE / "README.md"
    if "--check" in sys.argv:
        sys.exit(0 if target.read_text() == page() else "docs/results/README.md is not what table.py writes: run it")
    target.write_text(page())

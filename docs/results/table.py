"""Writes README.md beside it from the cards in this folder: `python docs/results/table.py [--check]`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIRST = {"segment": "iou", "classify": "accuracy", "text": "accuracy"}

HEAD = """# Results

Every row is the card of one training, kept here as JSON. Nothing was chosen on the split that a figure is of; what was
held out of the training samples to choose an epoch on is told beside it. Intervals are 95 %, bootstrap over samples.
Seconds are by the clock on the wall, also where the machine did other work meanwhile.
`python docs/results/table.py` writes this page from the cards.

`road-0` is of the command that is documented, and ships. On sequences that it was kept from, the same recipe reaches
0.944 (`road-0006R0`, by day; nothing was chosen on it) and 0.911 (`road-dusk`, the sequence `0001TP`, on which the
recipe was chosen). At dusk it is hardest: `road`, which has learnt from those pictures too, answers them with 0.92
(put them into `DIR/val` and `DIR/valannot`: `orilla verify road --data DIR`). `road-close5` and `road-dusk-close5` had
5 instead of 12 % close-ups, `road-plain` weaker augmentation and a whole encoder that was trained.

`vgg` starts from VGG19's blocks 1 to 3 alone and learns blocks 4 and 5 anew: 0.88 from 2,000 pictures, 0.94 from 8,000
(published with ImageNet weights for all five: 0.972). `vgg-features` stands on block 3's features alone (published on
all five: 0.889).

| run | model | reported | figure | interval | held out | epochs | seconds | seed | parameters |
|---|---|---|---:|---|---|---:|---:|---:|---:|
"""


def page() -> str:
    """The page's text."""
    cards = {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))}
    rows = "".join(row(name, card) for name, card in cards.items())
    commands = "\n".join(f"| {name} | `{card['command']}` | {started(card)} |" for name, card in cards.items())
    machines = sorted({f"{card['machine']}, {precision(card)}" for card in cards.values()})
    table = f"{HEAD}{rows}\nMachines: {'; '.join(machines)}.\n"
    return f"{table}\n{seeds(cards)}\n| run | command | started from |\n|---|---|---|\n{commands}\n"


def seeds(cards: dict[str, dict[str, Any]]) -> str:
    """Mean and spread of the runs that differ by their seed only: NAME-0, NAME-1, ..."""
    groups: dict[str, list[float]] = {}
    for name, card in cards.items():
        figure = card["measured"][0]["metrics"][FIRST[card["task"]]]
        model, _, seed = name.rpartition("-")
        if seed.isdigit():
            groups.setdefault(model, []).append(figure)
    rows = [
        f"| {name} | {len(found)} | {statistics.mean(found):.4f} | {min(found):.4f} – {max(found):.4f} |"
        for name, found in groups.items()
        if len(found) > 1
    ]
    return "\n".join(["| model | seeds | mean | least – greatest |", "|---|---:|---:|---|", *rows, ""])


def row(name: str, card: dict[str, Any]) -> str:
    """One training."""
    reported, metric = card["measured"][0], FIRST[card["task"]]
    low, high = reported["intervals"][metric]
    chosen = [one for one in card["data"]["splits"] if one["name"] == "choose"]
    told = f"{chosen[0]['count']} samples, {card['measured'][1]['metrics'][metric]:.4f}" if chosen else "nothing"
    data = " + ".join(source["name"] for source in card["data"]["sources"])
    cells = [
        f"[{name}]({name}.json)",
        card["model"],
        f"{data} {reported['split']}",
        f"{metric} {reported['metrics'][metric]:.4f}",
        f"{low:.4f} – {high:.4f}",
        told,
        card["epochs"],
        f"{card['seconds']:.0f}",
        card["seed"],
        f"{card['parameters']:,}",
    ]
    return f"| {' | '.join(map(str, cells))} |\n"


def started(card: dict[str, Any]) -> str:
    """The weights that training began with."""
    return "random" if card["start_weights"] == "random" else f"`{card['start_weights']}`"


def precision(card: dict[str, Any]) -> str:
    """Of the arithmetic."""
    return "float32" if card["precision"] == "float32" else f"mixed {card['precision']}"


if __name__ == "__main__":
    target = HERE / "README.md"
    if "--check" in sys.argv:
        sys.exit(0 if target.read_text() == page() else "docs/results/README.md is not what table.py writes: run it")
    target.write_text(page())

"""The run folder: `model.keras`, `card.json`, `run.json`, `history.csv` and `curves.png`, as export reads them."""

from __future__ import annotations

from pathlib import Path

from orilla.runtime.card import Card
from orilla.runtime.files import replacing, write_bytes
from orilla.runtime.preprocess import Preprocess
from orilla.runtime.run_folder import Run, encode_json


def write_run(folder: Path, card: Card, preprocess: Preprocess, data: str, rows: list[dict[str, float]]) -> None:
    """Writes everything but the model itself; `data` is the data set as the command named it."""
    where = str(Path(data).resolve()) if Path(data).exists() else data
    draw_curves(folder / "curves.png", rows)
    write_bytes(folder / "card.json", encode_json(card))
    write_bytes(folder / "run.json", encode_json(Run(preprocess=preprocess, data=where)))


def draw_curves(path: Path, rows: list[dict[str, float]]) -> None:
    """Loss of every epoch and the metrics of those that were evaluated, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot([row["epoch"] for row in rows], [row["loss"] for row in rows], color="tab:blue")
    left.set(xlabel="epoch", ylabel="training loss", title="Loss")
    for name in [name for row in rows[-1:] for name in row if name not in ("epoch", "loss", "seconds")]:
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        right.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    right.set(xlabel="epoch", title="Validation")
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)

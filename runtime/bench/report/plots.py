"""Plots of results as SVG that use the colours of the page, for light and dark mode."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orilla.runtime.bench.result import Result

INK = "#b00001"
LINES = tuple(f"#a0000{place}" for place in range(1, 7))
"""Placeholder colours that `_svg` replaces by the page's colours."""

SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "orilla",
    "font.size": 11,
    "font.family": "sans-serif",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
}

MAX_POINTS = 2000
"""Maximum points of a line on a page."""


def distribution(results: Sequence[Result], names: Sequence[str]) -> str:
    """Plot the cumulative distribution of the times (ECDF) with a stretched tail."""
    with rc_context(SETTINGS):
        figure, axes = _figure(4.2)
        for place, (result, name) in enumerate(zip(results, names, strict=True)):
            times = np.sort(result.kept(result.headline))
            rank = np.arange(1, times.size + 1) / (times.size + 1)
            half = MAX_POINTS // 2
            kept = np.concatenate([np.geomspace(1, times.size, half), np.linspace(1, times.size, half)]).astype(int)
            keep = np.unique(np.concatenate([times.size - kept, kept - 1]))
            axes.plot(times[keep], _stretched(rank[keep]), color=LINES[place % len(LINES)], label=name, lw=1.8)
        shares = [0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999]
        most = max(len(result.samples_ms[result.headline]) for result in results)
        shares = [share for share in shares if share <= 1 - 1 / most]
        axes.set_yticks(_stretched(np.array(shares)), [f"{100 * share:g} %" for share in shares])
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("share of answers within this time")
        if len(results) > 1:
            axes.legend(loc="lower right")
        return _svg(figure)


def time_line(result: Result) -> str:
    """Plot the times in order, with temperature, clock and other processes below."""
    panels = [
        (label, [(one.at_s, value) for one in result.timeline if (value := getattr(one, key)) is not None])
        for key, label in (
            ("temperature_c", "°C"),
            ("mhz", "MHz"),
            ("watts", "W"),
            ("other_cores", "cores used\nby others"),
        )
    ]
    panels = [(label, points) for label, points in panels if len(points) > 1]
    with rc_context(SETTINGS):
        figure = Figure(figsize=(9, 3.2 + 1.3 * len(panels)), layout="constrained")
        grid = figure.subplots(
            1 + len(panels), 1, sharex=True, height_ratios=[3.0] + [1.0] * len(panels), squeeze=False
        )
        axes: Axes = grid[0][0]
        at, times = np.asarray(result.at_s), np.asarray(result.samples_ms[result.headline])
        step = max(1, at.size // MAX_POINTS)
        slow = np.argsort(times)[-50:]
        shown = np.unique(np.concatenate([np.arange(0, at.size, step), slow]))
        axes.plot(at[shown], times[shown], ".", ms=2.5, alpha=0.5, color=LINES[0], label="each", rasterized=False)
        edges = np.linspace(0, at[-1] + 1e-9, max(2, min(60, at.size // 20)))
        middle, medians = [], []
        for low, high in pairwise(edges):
            inside = times[(at >= low) & (at < high)]
            if inside.size:
                middle.append((low + high) / 2)
                medians.append(float(np.median(inside)))
        axes.plot(middle, medians, color=LINES[1], lw=1.8, label="median")
        for place, one in enumerate(result.excluded):
            label = None if place else "set excluded"
            axes.axvspan(one.from_s, one.to_s, color=INK, alpha=0.08, lw=0, label=label)
        axes.set_ylabel(f"{result.headline}, ms")
        axes.set_ylim(bottom=0, top=float(np.percentile(times, 99.5)) * 1.3)
        axes.legend(loc="upper right", ncols=3)
        for place, (label, points) in enumerate(panels, 1):
            low = grid[place][0]
            low.plot(*zip(*points, strict=True), color=LINES[(place + 1) % len(LINES)], lw=1.5)
            low.set_ylabel(label)
            low.margins(y=0.2)
        grid[-1][0].set_xlabel("seconds")
        return _svg(figure)


def bars(names: Sequence[str], values: Sequence[float], spans: Sequence[tuple[float, float]], label: str) -> str:
    """Plot a bar with its interval for each name."""
    with rc_context(SETTINGS):
        figure, axes = _figure(0.8 + 0.45 * len(names))
        places = np.arange(len(names))
        low, high = np.array(spans).T
        errors = [np.array(values) - low, high - np.array(values)]
        colours = [LINES[place % len(LINES)] for place in places]
        axes.barh(places, values, color=colours, xerr=errors, ecolor=INK, capsize=3)
        for place, value in enumerate(values):
            axes.annotate(f"{value:.3g}", (spans[place][1], place), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.set_xlabel(label)
        return _svg(figure)


def stages(results: Sequence[Result], names: Sequence[str]) -> str:
    """Plot the median of each stage of a loop, one after the other."""
    order = ("prepare", "infer", "decode")
    with rc_context(SETTINGS):
        figure, axes = _figure(1.0 + 0.5 * len(results))
        for place, result in enumerate(results):
            left = 0.0
            for colour, stage in zip(LINES, order, strict=False):
                width = float(np.median(result.samples_ms[stage])) if stage in result.samples_ms else 0.0
                axes.barh(place, width, left=left, color=colour, label=stage if place == 0 else None)
                left += width
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("milliseconds, medians")
        axes.legend(loc="lower right", ncols=3, bbox_to_anchor=(1, 1))
        return _svg(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, figure.subplots()


def _stretched(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log odds, in which each further nine has the same distance."""
    stretched: NDArray[np.float64] = np.log10(share / (1 - share))
    return stretched


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for side in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {side}="[^"]+"', r"\1", text, count=1)
    for place, colour in enumerate(LINES, 1):
        text = text.replace(colour, f"var(--line{place})")
    return text.replace(INK, "currentColor")

"""Draw plots of results as SVG.

The colours come from the page's style sheet, so that they match its light or dark style.
"""

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
LINES = tuple(f"#a0000{number}" for number in range(1, 7))
"""Placeholders for the colours of lines. `_svg` replaces them with variables of the page's style sheet."""

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

MIN_WIDTH = "45rem"
"""Minimum width of a plot. On a phone, it is scrolled instead of shrunk, so that its text has at least 12 pixels."""

MAX_POINTS = 2000
"""Maximum number of points in a line, so that the page stays small."""

SLOWEST = 50
"""A time line always shows this many of the slowest samples, even if it omits others."""

MAX_INTERVALS = 60
"""Maximum number of intervals in a time line. The time line shows the median of each interval."""

SHARES = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Shares of inferences that are labelled on the vertical axis of a distribution plot."""

PANELS = {"temperature_c": "°C", "mhz": "MHz", "watts": "W", "other_cores": "cores used\nby others"}
"""Fields of `Second` that are drawn below a time line, and the labels of their axes."""


def distribution(results: Sequence[Result], names: Sequence[str]) -> str:
    """Draw, for each time, the share of inferences that took at most this long (ECDF).

    The axis of the shares is stretched so that the slowest inferences are visible.

    Args:
        results: The results.
        names: The name of each result.
    """
    with rc_context(SETTINGS):
        figure, axes = _figure(4.2)
        for index, (result, name) in enumerate(zip(results, names, strict=True)):
            times = np.sort(result.undisturbed(result.headline))
            rank = np.arange(1, times.size + 1) / (times.size + 1)
            points = _points(times.size)
            axes.plot(times[points], _stretched(rank[points]), color=LINES[index % len(LINES)], label=name, lw=1.8)
        count = max(len(result.samples_ms[result.headline]) for result in results)
        shares = [share for share in SHARES if share <= 1 - 1 / count]
        axes.set_yticks(_stretched(np.array(shares)), [f"{100 * share:g} %" for share in shares])
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("share of inferences within this time")
        if len(results) > 1:
            axes.legend(loc="lower right")
        return _svg(figure)


def _points(count: int) -> NDArray[np.int64]:
    """Return the indices of the samples to draw, in the order of their times.

    Half of them are evenly spaced, and the others are denser towards the slowest sample.
    """
    half = MAX_POINTS // 2
    steps = np.concatenate([np.geomspace(1, count, half), np.linspace(1, count, half)]).astype(int)
    points: NDArray[np.int64] = np.unique(np.concatenate([count - steps, steps - 1]))
    return points


def time_line(result: Result) -> str:
    """Draw the times in the order of measurement.

    Below them, draw the temperature, the clock frequency, the power and the number of cores that other processes used.
    """
    panels = {}
    for field, label in PANELS.items():
        points = [(second.at_s, value) for second in result.timeline if (value := getattr(second, field)) is not None]
        if len(points) > 1:
            panels[label] = points
    with rc_context(SETTINGS):
        figure = Figure(figsize=(9, 3.2 + 1.3 * len(panels)), layout="constrained")
        heights = [3.0] + [1.0] * len(panels)
        grid = figure.subplots(1 + len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)
        _draw_times(grid[0][0], result)
        for index, (label, points) in enumerate(panels.items(), 1):
            axes = grid[index][0]
            axes.plot(*zip(*points, strict=True), color=LINES[(index + 1) % len(LINES)], lw=1.5)
            axes.set_ylabel(label)
            axes.margins(y=0.2)
        grid[-1][0].set_xlabel("seconds")
        return _svg(figure)


def _draw_times(axes: Axes, result: Result) -> None:
    at, times = np.asarray(result.at_s), np.asarray(result.samples_ms[result.headline])
    step = max(1, at.size // MAX_POINTS)
    points = np.unique(np.concatenate([np.arange(0, at.size, step), np.argsort(times)[-SLOWEST:]]))
    axes.plot(at[points], times[points], ".", ms=2.5, alpha=0.5, color=LINES[0], label="each", rasterized=False)
    axes.plot(*_medians(at, times), color=LINES[1], lw=1.8, label="median")
    for index, interval in enumerate(result.excluded):
        label = None if index else "excluded"
        axes.axvspan(interval.from_s, interval.to_s, color=INK, alpha=0.08, lw=0, label=label)
    axes.set_ylabel(f"{result.headline} (ms)")
    axes.set_ylim(bottom=0, top=float(np.percentile(times, 99.5)) * 1.3)
    axes.legend(loc="upper right", ncols=3)


def _medians(at: NDArray[np.float64], times: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Divide a run into intervals. Return the middle of each interval and the median of the times in it."""
    edges = np.linspace(0, at[-1] + 1e-9, max(2, min(MAX_INTERVALS, at.size // 20)))
    middles, medians = [], []
    for low, high in pairwise(edges):
        inside = times[(at >= low) & (at < high)]
        if inside.size:
            middles.append(float(low + high) / 2)
            medians.append(float(np.median(inside)))
    return middles, medians


def bars(names: Sequence[str], values: Sequence[float], spans: Sequence[tuple[float, float]], label: str) -> str:
    """Draw a bar chart in which each bar has an error bar.

    Args:
        names: The name of each bar.
        values: The length of each bar.
        spans: The lower and upper end of each error bar.
        label: The label of the axis.
    """
    with rc_context(SETTINGS):
        figure, axes = _figure(0.8 + 0.45 * len(names))
        positions = np.arange(len(names))
        low, high = np.array(spans).T
        errors = [np.array(values) - low, high - np.array(values)]
        colours = [LINES[index % len(LINES)] for index in positions]
        axes.barh(positions, values, color=colours, xerr=errors, ecolor=INK, capsize=3)
        for index, value in enumerate(values):
            axes.annotate(f"{value:.3g}", (spans[index][1], index), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(positions, names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12)
        axes.set_xlabel(label)
        return _svg(figure)


def stages(results: Sequence[Result], names: Sequence[str]) -> str:
    """Draw a stacked bar for each loop: the median time of each stage.

    Args:
        results: Results of the scenario `loop`.
        names: The name of each result.
    """
    order = ("prepare", "infer", "decode")
    with rc_context(SETTINGS):
        figure, axes = _figure(1.0 + 0.5 * len(results))
        for index, result in enumerate(results):
            start = 0.0
            for colour, stage in zip(LINES, order, strict=False):
                width = float(np.median(result.samples_ms[stage])) if stage in result.samples_ms else 0.0
                axes.barh(index, width, left=start, color=colour, label=stage if index == 0 else None)
                start += width
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("median times in milliseconds")
        axes.legend(loc="lower right", ncols=3, bbox_to_anchor=(1, 1))
        return _svg(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, figure.subplots()


def _stretched(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log odds of shares. On this scale, 0.9, 0.99 and 0.999 are about equally far apart."""
    stretched: NDArray[np.float64] = np.log10(share / (1 - share))
    return stretched


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for side in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {side}="[^"]+"', r"\1", text, count=1)
    for number, colour in enumerate(LINES, 1):
        text = text.replace(colour, f"var(--line{number})")
    text = text.replace("<svg", f'<svg style="min-width: {MIN_WIDTH}; max-width: none"', 1)
    return f'<div style="overflow-x: auto">{text.replace(INK, "currentColor")}</div>'

"""The HTML page of an export. It shows which variant to use and why, and everything that the export has measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from orilla.runtime.bundle.choices import choice_lines
from orilla.runtime.bundle.comparison import Pareto, pareto, why_default
from orilla.runtime.bundle.manifest import Manifest, Variant
from orilla.runtime.commands.variant_table import failure_lines, remark_lines, search_lines, worst_lines
from orilla.runtime.html_page import Page
from orilla.runtime.tasks.registry import task_of

WIDTH, HEIGHT = 360, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 42
"""Size of the plot and of the margins around its points, in units. The text is 13 units high, so that it is readable on
a phone, which is about 360 pixels wide."""

GROUND = 18
"""Distance between a drop of 0 and the labels below the plot, in units."""

DROP_UNIT = 0.1
"""Drops below this many points are drawn on a linear scale, and larger ones on a logarithmic scale."""

DROPS = (0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
"""Drops that can be labelled on the vertical axis, in points."""

SMALLEST, LARGEST = 5.0, 13.0
"""Radius of the points for the smallest and the largest variant."""

LABEL = 15
"""Distance between labels, in units."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page whose content another module has created."""

    title: str
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    picture: Path | None = None
    """PNG file that the page embeds."""
    description: str = ""
    """Description of the picture for people who cannot see it."""


def export_page(manifest: Manifest, max_drop: float, sections: Sequence[Section] = ()) -> bytes:
    """Return the HTML page.

    Args:
        manifest: The manifest of the bundle.
        max_drop: Largest drop of accuracy that is allowed for the default variant, in points.
        sections: Further parts, such as the layers of a variant.
    """
    compared = pareto(manifest, max_drop)
    page = Page(f"{manifest.name}: {manifest.task}", why_default(manifest, max_drop))
    if manifest.report.warning is not None:
        page.text(f"Warning: {manifest.report.warning}.")
    page.heading("Which variant")
    if not compared.is_alone:
        page.drawing(plot(manifest, compared, max_drop), "drop of accuracy and time or size of each variant")
        page.text(_explain_plot(compared, max_drop))
    _add_variants(page, manifest, compared, max_drop)
    for line in [*search_lines(manifest.report), *remark_lines(manifest), *failure_lines(manifest.report)]:
        page.text(line.strip())
    for section in sections:
        _add(page, section)
    _add_data(page, manifest)
    _add_card(page, manifest)
    return page.html()


def _add_variants(page: Page, manifest: Manifest, compared: Pareto, max_drop: float) -> None:
    report, metric = manifest.report, task_of(manifest.task).metric
    page.table(
        ("variant", "MiB", f"{metric}, 95 %", "drop, points", "agreement", "p50 ms", "SQNR dB", "max error", "verdict"),
        [
            ("original", "", f"{report.metrics[metric]:.4f}", "", "", "", "", "", ""),
            *(
                (f"{number} {variant.name}", *_cells(manifest, compared, variant, max_drop))
                for number, variant in enumerate(manifest.variants, 1)
            ),
        ],
    )
    if report.timed_on:
        page.text(f"Times measured on {report.timed_on}, with the variants interleaved.")


def _cells(manifest: Manifest, compared: Pareto, variant: Variant, max_drop: float) -> tuple[str, ...]:
    check, latency = variant.check, variant.latency
    half_interval = (check.interval[1] - check.interval[0]) / 2
    verdicts = [
        "default" if variant.name == manifest.default else "",
        "knee" if variant.name == compared.knee and not compared.is_alone else "",
        f"dominated by {compared.dominated[variant.name]}" if variant.name in compared.dominated else "",
        f"drop above {max_drop:g}" if check.drop > max_drop else "",
    ]
    return (
        f"{manifest.files[variant.file].size / 2**20:.2f}",
        f"{check.metrics[task_of(manifest.task).metric]:.4f} ±{half_interval:.3f}",
        f"{check.drop:+.2f}",
        f"{100 * check.agreement:.1f} %",
        "" if latency is None else f"{latency.p50_ms:.3f}",
        "exact" if check.sqnr_db is None else f"{check.sqnr_db:.1f}",
        f"{check.max_error:.4f}",
        ", ".join(filter(None, verdicts)),
    )


def _explain_plot(compared: Pareto, max_drop: float) -> str:
    if "p50_ms" in compared.objectives:
        axes = "Right: slower. Up: less accurate. Larger: a larger file."
    else:
        axes = "Right: a larger file. Up: less accurate."
    return (
        f"{axes} The numbers are those of the table. Filled: not dominated. Ring: the knee {compared.knee}, the best "
        f"compromise of {compared.figures}. Dashed: the allowed drop of {max_drop:g} points."
    )


def _add(page: Page, section: Section) -> None:
    page.heading(section.title)
    if section.picture is not None:
        page.picture(section.picture, section.description)
    for line in section.lines:
        page.text(line.strip())
    if section.rows:
        page.table(section.header, section.rows)


def _add_data(page: Page, manifest: Manifest) -> None:
    report = manifest.report
    page.heading("Calibration and validation")
    rows = [("validation", report.data, report.count, report.sha256[:16])]
    if report.calibration:
        rows.insert(0, ("calibration", report.calibration, report.calibration_count, report.calibration_sha256[:16]))
    page.table(("use", "data", "samples", "SHA-256"), rows)
    if report.calibration:
        page.text(f"The calibration samples were drawn with seed {report.calibration_seed}.")
    truth = (
        "the labels" if report.truth == "labels" else "the decisions of the original model, because there are no labels"
    )
    page.text(f"Ground truth of the metrics: {truth}.")
    for line in [*worst_lines(report), *choice_lines(report.choices)]:
        page.text(line.strip())


def _add_card(page: Page, manifest: Manifest) -> None:
    page.heading("Card")
    card = manifest.card
    if card is None:
        page.text("The model was not trained by Orilla, so it has no card.")
        return
    page.text(
        f"{card.model} with {card.parameters:,} parameters, trained on {card.data.title} for {card.epochs} epochs in "
        f"{card.seconds:.0f} s on {card.machine}, from {card.start_weights}, seed {card.seed}. Licence of the data: "
        f"{card.data.licence}."
    )
    result = card.measured[0]
    rows = [
        (name, f"{value:.4f}", "{:.4f} - {:.4f}".format(*result.intervals[name]) if name in result.intervals else "")
        for name, value in result.metrics.items()
    ]
    page.table(("metric", result.split, "95 % interval"), rows)
    page.commands([card.command])


@dataclass(frozen=True, slots=True)
class _Point:
    number: int
    variant: Variant
    x: float
    y: float
    radius: float


def plot(manifest: Manifest, compared: Pareto, max_drop: float) -> str:
    """Draw the accuracy drop and the time (or the size, if there are no times) of each variant as SVG."""
    is_timed = "p50_ms" in compared.objectives
    values = [_across(manifest, variant, is_timed=is_timed) for variant in manifest.variants]
    low, high = min(values) / 1.15, max(values) * 1.15
    highest = max(max(variant.check.drop for variant in manifest.variants), max_drop, DROP_UNIT) * 1.3
    sizes = [manifest.files[variant.file].size for variant in manifest.variants]

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low) / math.log(high / low)

    def down(drop: float) -> float:
        return HEIGHT - BOTTOM - GROUND - (HEIGHT - TOP - BOTTOM - GROUND) * _scaled(drop) / _scaled(highest)

    points = [
        _Point(
            number,
            variant,
            across(value),
            down(variant.check.drop),
            SMALLEST + (LARGEST - SMALLEST) * math.sqrt(size / max(sizes)) if is_timed else SMALLEST,
        )
        for number, (variant, value, size) in enumerate(zip(manifest.variants, values, sizes, strict=True), 1)
    ]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" style="max-width:32rem;width:100%" font-size="13" fill="currentColor">'
    ]
    for drop in _spaced([(drop, down(drop)) for drop in DROPS if drop <= highest]):
        y = down(drop)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH}" stroke="currentColor" opacity=".2"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{drop:g}</text>')
    # A narrow range contains no round number.
    ticks = list(_round_values(low, high)) or [float(f"{value:.3g}") for value in (min(values), max(values))]
    parts += [
        f'<text x="{across(value):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{value:g}</text>'
        for value in _spaced([(value, across(value)) for value in ticks], 40)
    ]
    if max_drop <= highest:
        y = down(max_drop)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH}" stroke="var(--line2)" stroke-dasharray="5 4"/>')
    label = "milliseconds" if is_timed else "MiB"
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{label}</text>')
    parts.append(f'<text x="0" y="{HEIGHT - 6}">drop in points</text>')
    parts += _drawn(points, compared)
    return "".join([*parts, "</svg>"])


def _across(manifest: Manifest, variant: Variant, *, is_timed: bool) -> float:
    if is_timed and variant.latency is not None:
        return max(variant.latency.p50_ms, 1e-4)
    return manifest.files[variant.file].size / 2**20


def _scaled(drop: float) -> float:
    return math.log1p(max(drop, 0.0) / DROP_UNIT)


def _round_values(low: float, high: float) -> Iterator[float]:
    """Yield the numbers 1, 2 and 5 times a power of ten between two numbers."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (factor * 10.0**power for factor in (1, 2, 5) if low <= factor * 10.0**power <= high)


def _spaced(places: Sequence[tuple[float, float]], distance: float = LABEL) -> list[float]:
    """Return the values whose positions are far enough apart for labels."""
    kept: list[tuple[float, float]] = []
    for value, place in places:
        if not kept or abs(place - kept[-1][1]) >= distance:
            kept.append((value, place))
    return [value for value, _ in kept]


def _drawn(points: Sequence[_Point], compared: Pareto) -> Iterator[str]:
    """Yield the points and their number labels. A label moves up until it covers no other label."""
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: -point.radius):
        colour = "var(--line1)"
        name, fill = point.variant.name, "none" if point.variant.name in compared.dominated else colour
        yield (
            f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="{point.radius:.1f}" fill="{fill}" fill-opacity=".55" '
            f'stroke="{colour}"><title>{escape(name)}</title></circle>'
        )
        if name == compared.knee:
            yield (
                f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="{point.radius + 4:.1f}" fill="none" '
                'stroke="currentColor" stroke-width="1.5"/>'
            )
    for point in points:
        x, y = min(point.x + point.radius + 4, WIDTH - 18), point.y + 4
        while any(abs(x - other) < 2 * LABEL and abs(y - its) < LABEL for other, its in taken):
            y -= LABEL
        taken.append((x, y))
        weight = ' font-weight="bold"' if point.variant.name == compared.knee else ""
        yield f'<text x="{x:.1f}" y="{y:.1f}"{weight}>{point.number}</text>'

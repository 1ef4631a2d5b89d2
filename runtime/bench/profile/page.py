"""The HTML page of a profile. It shows the time of each layer and what to change."""

from __future__ import annotations

from orilla.devices.detect import Machine
from orilla.runtime.bench.profile.layer import Layer
from orilla.runtime.bench.profile.profile import Profile
from orilla.runtime.html_page import Page

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 360, 230, 44, 28, 44
"""Size of the drawing, and of the margins around its bars. The text is 13 units high, so that it is readable on a
phone."""

COLOURS = {"work": "var(--line1)", "copy": "var(--line2)", "convert": "var(--line3)", "other": "var(--line4)"}
NAMES = {"work": "weights", "copy": "copies", "convert": "conversions", "other": "others"}

HEADER = ("layer", "operator", "runs as", "in", "ms", "time", "GMAC/s", "of peak")


def page(bundle: str, profile: Profile, machine: Machine) -> bytes:
    """Return the HTML page."""
    slowest = max(profile.layers, key=lambda layer: layer.ms)
    made = Page(
        f"{bundle}: {profile.variant}",
        f"One inference takes {profile.inference_ms:.3f} ms on {profile.engine} with {profile.threads} thread. The "
        f"slowest layer is {slowest.name or slowest.kernel} with {100 * slowest.share:.0f} % of the time.",
    )
    made.drawing(bars(profile), "time of each layer in the order of execution")
    made.text("Each bar is a layer, in the order of execution. The colour shows what the layer does.")
    add_advice(made, profile)
    made.heading("Layers")
    made.table(HEADER, [_row(layer) for layer in profile.layers])
    made.heading("How it was measured")
    made.text(f"{profile.method}; the mean of {profile.runs} inferences on {machine}.")
    rates = ", ".join(f"{rate:.1f} billion per second in {numbers}" for numbers, rate in profile.peaks.items())
    made.text(
        f"The layers add up to {profile.layers_ms:.3f} ms. One inference has {profile.macs / 1e6:.1f} million "
        f"multiply-accumulates, which would take {profile.bound_ms:.3g} ms at the peak. The peak was measured in the "
        f"same run on the same engine with a {profile.peak_method}: {rates or 'no layer has weights'}."
    )
    return made.html()


def add_advice(made: Page, profile: Profile) -> None:
    """Add the section with the advice."""
    made.heading("What to change")
    if not profile.advice:
        made.text("Nothing stands out.")
    for advice in profile.advice:
        made.text(f"{100 * advice.share:.0f} % of the time: {advice.problem}. Change: {advice.change}.")


def bars(profile: Profile) -> str:
    """Return the times of the layers as an SVG drawing."""
    layers = profile.layers
    highest = max(layer.ms for layer in layers) or 1.0
    step = (WIDTH - LEFT) / len(layers)
    scale = (HEIGHT - BOTTOM - TOP) / highest
    base = HEIGHT - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" style="max-width:32rem;width:100%" font-size="13">']
    for share in (0.5, 1.0):
        y = base - scale * highest * share
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH}" stroke="currentColor" opacity=".2"/>')
        parts.append(
            f'<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">{highest * share:.2g}</text>'
        )
    for index, layer in enumerate(layers):
        height = max(0.4, scale * layer.ms)
        parts.append(
            f'<rect x="{LEFT + index * step:.2f}" y="{base - height:.2f}" width="{max(0.6, 0.85 * step):.2f}" '
            f'height="{height:.2f}" fill="{COLOURS[layer.kind]}"/>'
        )
    parts.append(f'<path d="M{LEFT} {base}H{WIDTH}" stroke="currentColor"/>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 8}" fill="currentColor">first layer</text>')
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 8}" text-anchor="end" fill="currentColor">last</text>')
    parts.append('<text x="0" y="14" fill="currentColor">ms</text>')
    x = LEFT
    for kind, name in NAMES.items():
        text = f"{name} {100 * profile.share(kind):.0f} %"
        if any(layer.kind == kind for layer in layers):
            row, place = divmod(x - LEFT, WIDTH - LEFT - 100)
            at = LEFT + place
            parts.append(f'<rect x="{at}" y="{4 + 17 * row}" width="11" height="11" fill="{COLOURS[kind]}"/>')
            parts.append(f'<text x="{at + 15}" y="{14 + 17 * row}" fill="currentColor">{text}</text>')
            x += 108
    return "".join([*parts, "</svg>"])


def _row(layer: Layer) -> tuple[str, ...]:
    return (
        layer.name or "(added by the engine)",
        layer.operator,
        layer.short_kernel,
        layer.place,
        f"{layer.ms:.3f}",
        f"{100 * layer.share:.1f} %",
        "" if layer.gmac_per_s is None else f"{layer.gmac_per_s:.1f}",
        "" if layer.of_peak is None else f"{100 * layer.of_peak:.0f} %",
    )

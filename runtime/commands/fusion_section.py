"""The section of a page that shows how the engines run the variants of a bundle."""

from __future__ import annotations

from orilla.devices.progress import Progress
from orilla.runtime.bench.profile.fusion import Fusion, fusion
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.commands.export_page import Section

HEADER = ("variant", "operators", "steps", "without XNNPACK", "in float", "conversions", "copies")

EXPLANATION = (
    "Operators: in the file. Steps: what the engine runs after it has fused operators. In float: steps of an int8 "
    "variant that compute in float. The percentages are parts of the time. `orilla profile` shows each layer."
)


def fusion_section(bundle: Bundle, progress: Progress) -> Section:
    """Run each variant with the profiler of its engine, and return the table."""
    rows, lines = [], [EXPLANATION]
    for variant in bundle.manifest.variants:
        progress.status(f"profiling {variant.name}")
        found = fusion(bundle, variant)
        if isinstance(found, str):
            lines.append(f"{variant.name}: {found}")
            continue
        rows.append(_row(found))
        if variant.name == bundle.manifest.default:
            lines += [
                f"{variant.name}, {100 * advice.share:.0f} %: {advice.problem}. Change: {advice.change}."
                for advice in found.advice
            ]
    return Section("What the engines run", tuple(lines), HEADER, tuple(rows))


def _row(found: Fusion) -> tuple[str, ...]:
    return (
        found.variant,
        str(found.operators),
        str(len(found.layers)),
        str(found.outside) if found.engine == "litert" else "",
        str(found.in_float) if found.quantised else "",
        *(f"{found.count(kind)} ({100 * found.share(kind):.0f} %)" for kind in ("convert", "copy")),
    )

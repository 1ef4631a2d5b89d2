"""Write the page of an export, with the layers of a quantised variant and the worst samples."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import OrillaError
from orilla.devices.progress import Progress
from orilla.export.layers.command import HEADER, MAX_CAUSES, cause_line, compare_layers, layer_row
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.commands.export_page import Section, export_page
from orilla.runtime.commands.fusion_section import fusion_section
from orilla.runtime.commands.variant_table import worst_lines
from orilla.runtime.files import write_bytes

LAYERS = 25
"""Maximum number of layers on the page. The page shows the layers with the largest losses."""


def write_page(out: Path, bundle: Bundle, max_drop: float, sheet: Path | None, progress: Progress) -> None:
    """Write the page of an export.

    Args:
        out: HTML file to write.
        bundle: The bundle that the export has written.
        max_drop: Largest drop of accuracy that is allowed for the default variant, in points.
        sheet: Contact sheet of the worst samples. None if it was not requested.
        progress: Receives the progress.
    """
    sections = []
    if sheet is not None:
        lines = tuple(worst_lines(bundle.manifest.report))
        picture = "validation samples on which int8 is worst, each with the float answer and the int8 answer"
        sections.append(Section("Worst samples", lines, picture=sheet, description=picture))
    progress.status("comparing the layers")
    sections.append(_layers(bundle))
    sections.append(fusion_section(bundle, progress))
    write_bytes(out, export_page(bundle.manifest, max_drop, sections))


def _layers(bundle: Bundle) -> Section:
    """Compare the layers of a quantised variant with the float variant, on the golden samples."""
    title = "Layers that lose accuracy"
    try:
        variant, original, report = compare_layers(bundle, None, None, 0)
    except OrillaError as error:
        return Section(title, (f"The layers were not compared: {error}.",))
    by_name = {layer.tensor: layer for layer in report.layers}
    lines = [f"{variant.name} compared with {original.name} on {report.samples} golden samples."]
    lines += [f"Cause: {cause_line(by_name[name])}." for name in report.causes[:MAX_CAUSES]]
    if not report.causes:
        lines.append("No layer loses a noticeable part of its signal.")
    worst = sorted(report.layers, key=lambda layer: -layer.added)[:LAYERS]
    rows = tuple(tuple(layer_row(layer)) for layer in report.layers if layer in worst)
    return Section(title, tuple(lines), tuple(HEADER), rows)

"""The page of an export: the recommendation, the plot and the tables."""

import re

import msgspec
import pytest

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.comparison import pareto, why_default
from orilla.runtime.cli import main
from orilla.runtime.commands.export_page import WIDTH, Section, export_page, plot


@pytest.fixture
def manifest(tiny_bundle):
    return Bundle.open(tiny_bundle).manifest


def test_the_page_begins_with_the_recommendation(manifest):
    html = export_page(manifest, 1.0).decode()
    assert why_default(manifest, 1.0) in html
    assert "http" not in html
    assert "<script" not in html
    for title in ("Which variant", "Calibration and validation", "Card"):
        assert f"<h2>{title}</h2>" in html
    for number, variant in enumerate(manifest.variants, 1):
        assert f"<td>{number} {variant.name}</td>" in html
    assert html.index("Which variant") < html.index("Card")


def test_the_plot_is_readable_on_a_phone(manifest):
    drawn = plot(manifest, pareto(manifest, 1.0), 1.0)
    # The drawing is as wide as a phone, so one unit is about one pixel.
    assert f'viewBox="0 0 {WIDTH} ' in drawn
    assert WIDTH <= 390
    assert {int(size) for size in re.findall(r'font-size="(\d+)"', drawn)} == {13}
    assert len(re.findall("<circle", drawn)) == len(manifest.variants) + 1  # The knee has a ring.
    texts = [
        (float(x), float(y))
        for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"(?: font-weight="bold")?>\d+</text>', drawn)
    ]
    assert len(texts) == len(manifest.variants)
    assert all(0 <= x <= WIDTH and y > 0 for x, y in texts)
    pairs = [(a, b) for index, a in enumerate(texts) for b in texts[:index]]
    assert all(abs(ax - bx) >= 20 or abs(ay - by) >= 13 for (ax, ay), (bx, by) in pairs)


def test_without_times_the_plot_shows_sizes(manifest):
    untimed = tuple(msgspec.structs.replace(variant, latency=None) for variant in manifest.variants)
    manifest = msgspec.structs.replace(manifest, variants=untimed)
    drawn = plot(manifest, pareto(manifest, 1.0), 1.0)
    assert "MiB" in drawn
    assert "milliseconds" not in drawn


def test_a_narrow_range_of_times_has_a_label(manifest):
    latencies = [14.98 + 0.01 * index for index in range(len(manifest.variants))]
    timed = tuple(
        msgspec.structs.replace(variant, latency=msgspec.structs.replace(variant.latency, p50_ms=p50_ms))
        for variant, p50_ms in zip(manifest.variants, latencies, strict=True)
    )
    manifest = msgspec.structs.replace(manifest, variants=timed)
    assert ">15</text>" in plot(manifest, pareto(manifest, 1.0), 1.0)


def test_names_and_sections_are_escaped(manifest):
    changed = msgspec.structs.replace(manifest, name="<b>net</b>")
    html = export_page(changed, 1.0, [Section("A & B", ("1 < 2",), ("x",), (("<i>",),))]).decode()
    assert "<b>net" not in html
    assert "<h2>A &amp; B</h2>" in html
    assert "1 &lt; 2" in html
    assert "<td>&lt;i&gt;</td>" in html


def test_show_writes_the_page_with_what_the_engines_run(tmp_path, capsys):
    page = tmp_path / "road.html"
    assert main(["show", "convnet", "--page", str(page)]) == 0
    assert f"page: {page}" in capsys.readouterr().out
    html = page.read_text()
    assert "<h2>What the engines run</h2>" in html
    assert re.search(r"<td>litert_wi8_ai8</td><td>\d+</td><td>\d+</td><td>0</td><td>0</td>", html)


def test_bad_input_is_reported_in_one_line(tmp_path, capsys):
    assert main(["show", "road", "--page", str(tmp_path / "page.pdf")]) == 2
    assert main(["show", "road", "--page", str(tmp_path / "no" / "page.html")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2

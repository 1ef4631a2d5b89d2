"""Draw the rooms of the project as `docs/architecture/rooms.svg`: `python docs/architecture/draw.py [--check]`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import rooms  # noqa: E402 - the script next to this one

WIDTH, BOX_H, ROW_H, MARGIN, GAP = 1120, 34, 62, 20, 12
COLORS = {"devices": "#c7d8ef", "runtime": "#d8ead2", "export": "#f5e0c0", "train": "#eed3de"}


def svg(root: Path) -> str:
    """Return the picture: one row per floor, one box per room, coloured by package."""
    known = rooms.modules(root)
    arrows = rooms.rooms({name: rooms.imports(file, known) - {name} for name, file in known.items()})
    level = rooms.floors(rooms.upward(arrows)[1])
    top = max(level.values())
    height = 2 * MARGIN + top * ROW_H
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="14">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for floor in range(top, 0, -1):
        names = sorted(room for room in level if level[room] == floor)
        y = MARGIN + (top - floor) * ROW_H
        parts.append(f'<text x="{MARGIN}" y="{y + 22}" fill="#666666">floor {floor}</text>')
        left, right = MARGIN + 80, WIDTH - MARGIN
        width = min(200, (right - left - GAP * (len(names) - 1)) / len(names))
        for place, name in enumerate(names):
            x = left + place * (width + GAP)
            fill = COLORS[name.split(".")[0]]
            label = name.removeprefix("runtime.")
            parts.append(
                f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{BOX_H}" '
                f'rx="5" fill="{fill}" stroke="#444444"/>'
                f'<text x="{x + width / 2:.0f}" y="{y + 22}" text-anchor="middle">{label}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    """Write the picture, or with `--check` compare it with the file."""
    file, text = HERE / "rooms.svg", svg(HERE.parents[1])
    if "--check" not in sys.argv[1:]:
        file.write_text(text)
    elif not file.exists() or file.read_text() != text:
        print("docs/architecture/rooms.svg is out of date: run python docs/architecture/draw.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

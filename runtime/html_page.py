"""HTML pages with headings, tables and images. Each page is a single file that loads nothing from the network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #1a7f4b;
  --line1: #1a7f4b; --line2: #c2571a; --line3: #2f6fb5; --line4: #8a4fb0; --line5: #a3801c; --line6: #b03a5b; }
@media (prefers-color-scheme: dark) { :root {
  --line1: #4fc48a; --line2: #ef9055; --line3: #6fb1f5; --line4: #c592ec; --line5: #dcbb55; --line6: #ef7f9f; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } th { background: var(--soft); }
img { max-width: 100%; border-radius: 6px; background: #fff; } video { width: 100%; border-radius: 6px; }
svg { max-width: 100%; height: auto; display: block; margin: 1rem 0; }
code { background: var(--soft); padding: .1rem .3rem; border-radius: 4px; }
pre { background: var(--soft); padding: .8rem; border-radius: 6px; overflow-x: auto; }
pre code { background: none; padding: 0; }
.lead { font-size: 1.15rem; } .wide { overflow-x: auto; }
"""


class Page:
    """A page that is built section by section. All strings are escaped.

    Args:
        title: Title of the page.
        lead: First paragraph.
    """

    def __init__(self, title: str, lead: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>", f'<p class="lead">{escape(lead)}</p>']

    def heading(self, text: str) -> None:
        """Begin a section with a heading."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def commands(self, lines: Sequence[str]) -> None:
        """Add a block of commands for a terminal."""
        self._parts.append(f"<pre><code>{escape(chr(10).join(lines))}</code></pre>")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table. The first column contains the names of the rows."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
        self._parts.append(f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>')

    def picture(self, path: Path, description: str) -> None:
        """Add a PNG or JPEG file, whose content is embedded in the page."""
        kind = "png" if path.suffix == ".png" else "jpeg"
        data = base64.b64encode(path.read_bytes()).decode()
        self._parts.append(f'<p><img alt="{escape(description)}" src="data:image/{kind};base64,{data}"></p>')

    def video(self, path: str, description: str) -> None:
        """Add a player for a video file that lies beside the page, and a link for browsers without its codec.

        Args:
            path: The file, relative to the page.
            description: What the video shows.
        """
        file, text = escape(quote(path)), escape(description)
        self._parts.append(
            f'<p><video controls muted playsinline preload="metadata" src="{file}" aria-label="{text}"></video></p>'
            f'<p><a href="{file}">{escape(path)}</a>: {text}</p>'
        )

    def drawing(self, svg: str, description: str) -> None:
        """Add an SVG drawing. It is not escaped, so it must not contain unescaped text from users or files."""
        self._parts.append(f'<div role="img" aria-label="{escape(description)}">{svg}</div>')

    def html(self) -> bytes:
        """Return the content of the HTML file."""
        parts = [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>{escape(self._title)}</title><style>{STYLE}</style></head>",
            "<body>",
            *self._parts,
            "</body></html>",
        ]
        return ("\n".join(parts) + "\n").encode()

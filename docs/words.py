"""Check the words of the project against the glossary: `python docs/words.py`.

The check reads all docstrings, comments and strings of the four packages and the tests, and all pages of the
documentation. It prints each banned phrase with its place and what to write instead. It exits with 1 if there is one.
"""

from __future__ import annotations

import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("devices", "runtime", "export", "train", "tests", "docs")

BANNED = {
    r"\btold\b": "reported, listed, stated",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\banew\b": "again, from the start",
    r"\byardsticks?\b": "reference workload",
    r"\bheld (against|to)\b": "compared with, checked against",
    r"\bpass(ed|es|ing)? over\b": "skipped",
    r"\bgiven up\b": "dropped",
    r"\bis nothing of\b": "name what it is",
    r"\bso many\b": "state the number",
    r"\bhand(s|ed)? over\b": "passes, delivers",
    r"\bmade small\b": "quantised",
    r"\bgo(es)? on from\b": "continues from, resumes",
    r"\bby hand of\b": "name the actor",
    r"\bfiles? of passage\b": "temporary file",
    r"^(<|>){7} \S+": "only the lines that resolve this conflict of a merge",
}
"""Banned phrases, as regular expressions, with what to write instead."""

ALLOWED_FILES = {"docs/words.py"}


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of each comment and string of a Python file, or each line of a page."""
    if file.suffix == ".md":
        yield from enumerate(file.read_text().splitlines(), start=1)
        return
    with file.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING):
                yield token.start[0], token.string


def findings(file: Path) -> Iterator[str]:
    """Yield one line for each banned phrase in a file."""
    for start, text in texts(file):
        for pattern, instead in BANNED.items():
            for match in re.finditer(pattern, text, re.IGNORECASE):
                line = start + text.count("\n", 0, match.start())
                yield f'{file.relative_to(ROOT)}:{line}: "{match[0]}": write {instead}'


def main() -> int:
    """Print all findings."""
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    for folder in FOLDERS:
        files += [file for file in sorted((ROOT / folder).rglob("*")) if file.suffix in (".py", ".md")]
    lines = [line for file in files if str(file.relative_to(ROOT)) not in ALLOWED_FILES for line in findings(file)]
    print("\n".join(lines) if lines else "no banned words", file=sys.stderr if lines else sys.stdout)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

"""Write docs/results/keras2.md: `python tests/export/keras2/table.py`. Reading all files takes about ten minutes."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.keras_archives import (
    ARCHIVES,
    LOOSE,
    REFUSED_IN,
    TOLERANCE,
    archive_names,
    difference,
    known_difference,
    refusal,
    unpack,
)

PAGE = ROOT / "docs" / "results" / "keras2.md"

HEAD = """# Files of Keras 1, 2 and 3

Each row is one small model. Real versions of Keras wrote it and computed answers for it. Orilla reads the file as
`orilla export` does and computes the answers again. A number is the largest difference from the answers of the Keras
that wrote the file, relative to the largest answer or 1, over all formats in which this Keras saved the model (`.h5`,
`.keras`, SavedModel). 0 means that all bits are equal. "refused" means that Orilla refuses the file and states the
reason. "differs" is explained below the table. An empty cell means that this Keras cannot build, save or compute the
model.

The command `python tests/export/keras2/table.py` writes this page.
The file `tests/export/keras2/README.md` states how the models were made.
"""


def main():
    """Read all files and write the page."""
    columns, texts = {}, {}
    for archive in archive_names():
        with tempfile.TemporaryDirectory() as folder:
            opened = unpack(ARCHIVES / f"{archive}.tar.xz", Path(folder))
            columns[archive] = {name: cell(archive, stored) for name, stored in opened.models.items()}
            texts.update((name, stored.text) for name, stored in opened.models.items())
        print(archive, summary(columns[archive]), flush=True)
    PAGE.write_text(page(columns, texts))


def cell(archive, stored):
    """Return the largest difference of a model's files, or `refused`, `differs` or `failed`."""
    try:
        found = max(difference(file, stored) for file in stored.files)
        return found if known_difference(archive, stored.name) is None else "differs"
    except (ValueError, AssertionError) as error:
        if refusal(archive, stored.name) is not None:
            return "refused"
        print(f"{archive} {stored.name}: {error}")
        return "failed"


def summary(column):
    """Return the numbers of models of each kind, and the largest difference."""
    numbers = [value for value in column.values() if isinstance(value, float)]
    refused = sum(value == "refused" for value in column.values())
    return len(column), sum(value <= TOLERANCE for value in numbers), refused, max(numbers)


def page(columns, texts):
    """Return the page in Markdown."""
    loose = ", ".join(f"{name} {limit:.0e}" for name, limit in LOOSE.items())
    lines = [HEAD, f"The tests allow a difference of {TOLERANCE:.0e}, and for {loose}.", ""]
    lines += ["| Keras | models | equal within 1e-5 | refused |", "|---|---:|---:|---:|"]
    for archive, column in columns.items():
        models, equal, refused, _ = summary(column)
        lines.append(f"| {archive} | {models} | {equal} | {refused} |")
    lines += ["", "| model | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, text in texts.items():
        cells = [shown(column.get(name)) for column in columns.values()]
        lines.append(f"| {described(text)} | {' | '.join(cells)} |")
    return "\n".join(lines + notes(columns)) + "\n"


def notes(columns):
    """Return the reasons for models that are rejected or differ in one version only."""
    lines = [""]
    for archive, column in columns.items():
        for name in column:
            refused, differs = REFUSED_IN.get(archive, {}).get(name), known_difference(archive, name)
            if refused is not None:
                lines.append(f"- {archive}, {name}: refused by Keras 3.15. The message contains `{refused}`.")
            elif differs is not None:
                lines.append(f"- {archive}, {name}: {differs}.")
    return lines


def described(text):
    """Return the text of a row: code in backticks, and sentences as they are."""
    text = text.replace("|", "\\|")
    return text if text.endswith(".") else f"`{text}`"


def shown(value):
    """Return the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return "0" if value == 0 else f"{value:.0e}"


if __name__ == "__main__":
    main()

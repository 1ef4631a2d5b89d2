"""Read the class names of a model from a file, in the formats in which tools write them.

Supported formats: one name per line; numbered lines (`0 stop`, `0: stop`, `0,stop`), as Teachable Machine and Coral
write them; `name,number` lines; a table with a column of numbers; a Python list, or names on one line; TensorFlow's
label map (`.pbtxt`); the names of a YOLO `data.yaml`; and JSON: a list, a mapping from number to name, as Keras
publishes for ImageNet, or from name to number (`class_indices`), and the JSON documents that Hugging Face (`id2label`)
and Teachable Machine (`labels`) write.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orilla.devices.errors import DataError
from orilla.devices.names import whole_number
from orilla.devices.text_files import lines_of, read_text
from orilla.runtime.evaluation.datasets.delimited import parse_table
from orilla.runtime.evaluation.datasets.yolo import names_in_yaml
from orilla.runtime.tasks.label_names import unnamed

ENCODING_ADVICE = "store it as UTF-8, or state its encoding with `encoding`, such as cp1252"
"""Advice of the messages about files for whose encoding the export has an option."""

MAX_BYTES = 16 << 20
"""Maximum size of a file with labels."""

NUMBER_FIRST = re.compile(r"(\d{1,6})\s*(?:[:;,\t=|]|\s-\s|[.)]\s|\s)\s*(\S.*)")
"""Pattern of a line with a number and a name: `0 stop`, `0: stop`, `0,stop`, `0. stop`, `0 - stop`."""

NUMBER_LAST = re.compile(r"(\S.*?)\s*[:;,\t=]\s*(\d{1,6})")
"""Pattern of a line with a name and a number: `stop,0`, `stop: 0`."""

HEADINGS = {"id", "index", "idx", "number", "class", "class_id", "classid", "class_name", "label", "labels", "name"}
HEADINGS |= {"label_id", "label_name", "category", "classname", "class index", "category_id", "classes"}
"""Words that make up the first line of a table, in lower case."""

NAMING = ("name", "label")
"""Words in the heading of the column with the names, if a table also has other columns of texts."""

PLACEHOLDERS = {"???", "n/a"}
"""Names, in lower case, that published lists repeat for numbers without a class."""

TABLES = (".csv", ".tsv")
"""Suffixes of tables, whose first line may name the only column."""

MIN_REMARK_WORDS = 8
"""Minimum number of words in the last paragraph of a list for it to count as a remark instead of class names."""

MIN_NUMBERED = 0.5
"""Lines with gaps in their numbers count as numbered lines if at least this share of the numbers up to the highest one
occurs."""

LABEL_MAP = r"^\s*item\s*:?\s*\{"
"""Pattern of an entry in TensorFlow's label map."""

QUOTED = r"""(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)')"""
"""Pattern of a string in TensorFlow's label map."""

NESTED = ("id2label", "labels", "names", "class_names", "classes", "class_indices", "label2id", "categories")
"""Keys of a JSON document under which tools store the names, in this order."""

JOINERS = "\u200c\u200d"
"""Invisible characters that some languages need to spell words."""


def read_labels(path: Path, encoding: str | None = None) -> tuple[str, ...]:
    """Return the class names in a file, in the order of the model's outputs.

    Args:
        path: The file.
        encoding: Encoding of the file. If None, it is UTF-8, or what its byte order mark states.

    Raises:
        DataError: The file cannot be read, has no labels, or names a label twice.
    """
    labels = read_lines(path, encoding)
    double = next((label for label, count in Counter(labels).items() if count > 1), None)
    if double is not None:
        places = [str(number) for number, label in enumerate(labels, 1) if label == double]
        msg = f"labels={path} contains a label twice: {double} (labels {' and '.join(places[:2])}): rename one"
        raise DataError(msg)
    return labels


def read_lines(path: Path, encoding: str | None = None) -> tuple[str, ...]:
    """Return the class names in a file. A name may occur several times.

    Raises:
        DataError: The file cannot be read, has no labels, or a label contains invisible characters.
    """
    text = read_text(path, encoding=encoding, limit_bytes=MAX_BYTES, advice=ENCODING_ADVICE)
    labels = _without_placeholders(_parsed(_without_doubled_ends(text), path))
    if not labels:
        msg = f"labels={path} is empty"
        raise DataError(msg)
    check_visible(labels, f"labels={path}")
    return labels


def check_visible(labels: Sequence[str], origin: str) -> None:
    """Raise `DataError` if a label is empty or contains invisible characters, such as control characters.

    Args:
        labels: The labels.
        origin: Where the labels come from, for the message.
    """
    for number, label in enumerate(labels, 1):
        if not label:
            msg = f"{origin}: label {number} is empty: name each class"
            raise DataError(msg)
        odd = next((letter for letter in label if _is_invisible(letter)), None)
        if odd is not None:
            shown = "".join(letter if not _is_invisible(letter) else "\ufffd" for letter in label)[:60]
            msg = f"{origin}: label {number}, {shown!r}, contains the character U+{ord(odd):04X}: remove it"
            raise DataError(msg)


def unique_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels, with a number added to each repeated one, as in `crane` and `crane (2)`.

    Published lists repeat names: ImageNet has a crane that is a bird, and one that is a machine.
    """
    seen: Counter[str] = Counter()
    unique = []
    for label in labels:
        seen[label] += 1
        unique.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return tuple(unique)


def _without_placeholders(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels, with names such as `class 12` instead of a placeholder that occurs several times."""
    counts = Counter(label.lower() for label in labels)
    repeated = {word for word in PLACEHOLDERS if counts[word] > 1}
    return tuple(unnamed(at) if label.lower() in repeated else label for at, label in enumerate(labels))


def _is_invisible(letter: str) -> bool:
    """Return True for control and format characters, and for the replacement character U+FFFD."""
    return letter == "\ufffd" or (unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs") and letter not in JOINERS)


def _parsed(text: str, path: Path) -> tuple[str, ...]:
    """Return the names in a file of any supported format."""
    start = text.lstrip()[:1]
    if path.suffix.lower() == ".json" or (start in ("{", "[") and _is_json(text)):
        return _of_json(text, path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return tuple(names_in_yaml(text, str(path)))
    if re.search(LABEL_MAP, text, re.MULTILINE):
        return _of_label_map(text, path)
    listed = _of_literal(text)
    lines = _without_remark(lines_of(text)) if listed is None else listed
    leading = next((number for number, line in enumerate(lines) if line), 0)
    lines = lines[leading:]
    if "" in lines and not _are_numbered([line for line in lines if line]):
        number = lines.index("") + 1 + leading
        msg = (
            f"labels={path} has an empty line {number} between two names, and each line is a class: remove the line, "
            f"or write a name such as {unnamed(lines.index(''))!r} for this class of the model"
        )
        raise DataError(msg)
    lines = [line for line in lines if line]
    if len(lines) == 1:
        mark = next((mark for mark in ",;\t|" if mark in lines[0]), ",")
        lines = [name for part in lines[0].split(mark) if (name := part.strip())]
    if (pairs := _of_table(lines, path)) is not None:
        return _in_order(pairs, path)
    return _numbered(_unquoted(lines), path)


def _without_remark(lines: list[str]) -> list[str]:
    """Return the lines without a last paragraph of prose, as in Coral's labels of PASCAL VOC."""
    blank = max((number for number, line in enumerate(lines) if not line and any(lines[number:])), default=0)
    remark = " ".join(lines[blank:])
    is_prose = any(lines[:blank]) and remark.endswith((".", "!")) and len(remark.split()) >= MIN_REMARK_WORDS
    return lines_of("\n".join(lines[:blank])) if is_prose else lines


def _without_doubled_ends(text: str) -> str:
    """Return a text without the empty line that a failed conversion of line ends has added after each line."""
    lines = lines_of(text)
    return "\n".join(lines[::2]) if len(lines) > 2 and all(lines[::2]) and not any(lines[1::2]) else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _of_literal(text: str) -> list[str] | None:
    """Return the names in a Python list, tuple or dictionary, or None if the text is none of these."""
    if not text.lstrip().startswith(("[", "(", "{")):
        return None
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return [name.strip() for name in value]
    return [f"{number},{name}" for number, name in value.items()] if isinstance(value, dict) else None


def _of_table(lines: list[str], path: Path) -> list[tuple[int, str]] | None:
    """Return the numbers and names in a table, or None if the lines are not a table.

    The numbers come from the first column with class numbers, and the names from the column with names or else from the
    last column with texts. Without a header, a table must have two columns.
    """
    table = parse_table("\n".join(lines), str(path)) if any(lines) else None
    if table is None or len(table.header) < 2 or any(len(row.fields) != len(table.header) for row in table.rows):
        return None
    columns = [[field.strip() for field in column] for column in zip(*(row.fields for row in table.rows), strict=True)]
    heading = [name.strip() for name in table.header]
    at = next((at for at, column in enumerate(columns) if _are_indices(column)), None)
    if at is None:
        return None
    texts = [index for index, column in enumerate(columns) if not all(map(whole_number, column))]
    named = [index for index in texts if any(word in heading[index].lower() for word in NAMING)]
    has_heading = not whole_number(heading[at])
    if not texts or (not has_heading and len(columns) > 2):
        return None
    rows = columns if has_heading else [[name, *column] for name, column in zip(heading, columns, strict=True)]
    return [(int(number), name) for number, name in zip(rows[at], rows[(named or texts)[-1]], strict=True)]


def _are_indices(values: Sequence[str]) -> bool:
    """Return True if the values are numbers of classes, each of which occurs once."""
    return all(map(whole_number, values)) and len(set(values)) == len(values) and _are_numbers([*map(int, values)])


def _unquoted(lines: list[str]) -> list[str]:
    """Remove a comma at the end of each line, and quotes around each line, if all lines have them."""
    if len(lines) > 1 and all(line.endswith(",") for line in lines[:-1]):
        lines = [line.rstrip(",").rstrip() for line in lines]
    for quote in ('"', "'"):
        if lines and all(len(line) > 1 and line[0] == line[-1] == quote for line in lines):
            lines = [line[1:-1].strip() for line in lines]
    return lines


def _numbered(lines: list[str], path: Path) -> tuple[str, ...]:
    """Return the names without their numbers if each line begins or ends with a number, in the order of the numbers."""
    body = lines
    if path.suffix.lower() in TABLES and len(lines) > 1 and lines[0].strip('"').lower() in HEADINGS:
        lines = body = lines[1:]
    if len(lines) > 1 and all(cell.strip().strip('"').lower() in HEADINGS for cell in re.split(r"[,;\t]", lines[0])):
        body = lines[1:]
    for pattern, number_at, name_at in ((NUMBER_FIRST, 1, 2), (NUMBER_LAST, 2, 1)):
        found = [match for line in body if (match := pattern.fullmatch(line))]
        if len(found) == len(body) and found:
            names = [(int(match[number_at]), match[name_at].strip().strip("\"'").strip()) for match in found]
            if _are_numbers([number for number, _ in names]) and len({name for _, name in names}) > len(names) / 2:
                return _in_order(names, path)
    # A word such as `label` is certainly a heading only if the lines below it are numbered or if it is in a table.
    return tuple(body if len(body) < len(lines) and re.search(r"[,;\t]", lines[0]) else lines)


def _are_numbered(lines: list[str]) -> bool:
    """Return True if each non-empty line begins or ends with a number, so that empty lines can be ignored."""
    return any(all(pattern.fullmatch(line) for line in lines) for pattern in (NUMBER_FIRST, NUMBER_LAST))


def _are_numbers(numbers: list[int]) -> bool:
    """Return True if the numbers at the lines are class indices: they begin at 0 or 1, and have few gaps."""
    return min(numbers) <= 1 and len(set(numbers)) >= MIN_NUMBERED * (max(numbers) + 1 - min(numbers))


def _in_order(names: Sequence[tuple[int, str]], path: Path) -> tuple[str, ...]:
    """Return the names in the order of their numbers, which must differ. A missing number becomes `class N`."""
    by_number: dict[int, str] = {}
    for number, name in names:
        if number in by_number:
            msg = f"labels={path} gives the number {number} to {by_number[number]} and to {name}: correct one"
            raise DataError(msg)
        by_number[number] = name
    numbers = range(min(by_number), max(by_number) + 1)
    return unique_labels([by_number.get(number, unnamed(number)) for number in numbers])


def _of_json(text: str, path: Path) -> tuple[str, ...]:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"labels={path} is not valid JSON: {error}"
        raise DataError(msg) from error
    if isinstance(document, Mapping):
        document = next((document[key] for key in NESTED if isinstance(document.get(key), list | Mapping)), document)
    if isinstance(document, list):
        ids = [entry.get("id") if isinstance(entry, Mapping) else None for entry in document]
        if len(set(ids)) == len(ids) and all(isinstance(number, int) for number in ids):
            document = sorted(document, key=lambda entry: entry["id"])  # COCO's categories may be in any order.
        names = [_name(entry) for entry in document]
        if all(names):
            return tuple(str(name).strip() for name in names)
    elif isinstance(document, Mapping) and document:
        pairs = [_pair(key, value) for key, value in document.items()]
        numbered = [pair for pair in pairs if pair is not None]
        if len(numbered) == len(pairs) and _are_numbers([number for number, _ in numbered]):
            return _in_order(numbered, path)
    msg = (
        f'labels={path} has an unknown format: give a list of names, or a mapping from number to name as in {{"0": '
        '"stop"}, or a text file with one name per line'
    )
    raise DataError(msg)


def _name(entry: object) -> str | None:
    """Return the name in an entry of a JSON list: a string, or an object with a name."""
    if isinstance(entry, Mapping):
        entry = next((entry[key] for key in ("name", "label", "display_name", "class") if key in entry), None)
    return entry if isinstance(entry, str) else None


def _pair(key: str, value: object) -> tuple[int, str] | None:
    """Return the number and the name of an entry of a JSON mapping, or None if the entry has neither form."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = value[-1]  # Keras' list for ImageNet states a WordNet id and a name.
    if whole_number(key) and (name := _name(value)) is not None:
        return int(key), name.strip()
    if isinstance(value, str) and whole_number(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000_000:
        return value, key.strip()
    return None


def _of_label_map(text: str, path: Path) -> tuple[str, ...]:
    """Return the names of a TensorFlow object detection label map. Its numbers begin with 1."""
    pairs = []
    text = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
    for body in re.split(LABEL_MAP, text, flags=re.MULTILINE)[1:]:
        number = re.search(r"\bid\s*:\s*(\d{1,6})", body)
        name = re.search(rf"\bdisplay_name\s*:\s*{QUOTED}", body) or re.search(rf"\bname\s*:\s*{QUOTED}", body)
        if number is None or name is None:
            msg = f"labels={path} has an item without id or name: add them"
            raise DataError(msg)
        pairs.append((int(number[1]), re.sub(r"\\(.)", r"\1", name[1] or name[2] or "").strip()))
    return _in_order(pairs, path)

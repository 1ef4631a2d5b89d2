"""Files with class names, as tools write them."""

import json

import pytest

from orilla.devices.errors import DataError
from orilla.export.labels import read_labels, read_lines

NAMES = ("stop", "go", "turn left")


@pytest.mark.parametrize(
    "text",
    [
        "stop\ngo\nturn left\n",
        "\ufeffstop\r\ngo\r\nturn left\r\n\r\n",
        "stop \rgo\t\rturn left",
        "stop\r\r\ngo\r\r\nturn left\r\r\n",
        "0 stop\n1 go\n2 turn left\n",
        "0  stop\n1  go\n2  turn left",
        "0: stop\n1: go\n2: turn left\n",
        "0,stop\n1,go\n2,turn left\n",
        "0\tstop\n1\tgo\n2\tturn left\n",
        "0. stop\n1. go\n2. turn left\n",
        "0 - stop\n1 - go\n2 - turn left\n",
        "1 stop\n2 go\n3 turn left\n",
        "2 turn left\n0 stop\n1 go\n",
        "id,name\n0,stop\n1,go\n2,turn left\n",
        "label,index\nstop,0\ngo,1\nturn left,2\n",
        "stop,\ngo,\nturn left,\n",
        "stop,\ngo,\nturn left",
        '"stop",\n"go",\n"turn left"\n',
        "stop: 0\ngo: 1\nturn left: 2\n",
        "stop, go, turn left\n",
        "['stop', 'go', 'turn left']\n",
        "['stop',\n 'go',\n 'turn left']\n",
        "{0: 'stop',\n 1: 'go',\n 2: 'turn left'}\n",
        "stop;go;turn left\n",
        "'stop': 0\n'go': 1\n'turn left': 2\n",
        "ClassId,SignName\n0,stop\n1,go\n2,turn left\n",
        'index,mid,display_name\n0,/m/02,stop\n1,/m/03,"go"\n2,/m/0k,"turn left"\n',
        "class_idx,class_name,count\n0,stop,10\n1,go,20\n2,turn left,30\n",
        ",label\n0,stop\n1,go\n2,turn left\n",
        '"0","stop"\n"1","go"\n"2","turn left"\n',
        "# map\nitem: {\n id: 1 name: 'stop'\n}\nitem: {\n id: 2\n name: 'go'\n}\nitem: { id: 3 name: 'turn left' }\n",
        json.dumps({name: str(number) for number, name in enumerate(NAMES)}),
        json.dumps({str(number): {"name": name} for number, name in enumerate(NAMES)}),
        json.dumps([{"id": number, "name": NAMES[number]} for number in (2, 0, 1)]),
        "{0: 'stop', 1: 'go', 2: 'turn left'}\n",
        "{'stop': 0, 'go': 1, 'turn left': 2}\n",
        'item {\n id: 1\n name: "stop"\n}\nitem {\n id: 2\n name: "go"\n}\nitem { id: 3 name: \'turn left\' }\n',
        json.dumps(NAMES),
        json.dumps({str(number): name for number, name in enumerate(NAMES)}),
        json.dumps({name: number for number, name in enumerate(NAMES)}),
        json.dumps({str(number): [f"n{number:08}", name] for number, name in enumerate(NAMES)}),
        json.dumps({"id2label": {str(number): name for number, name in enumerate(NAMES)}, "architectures": ["x"]}),
        json.dumps({"tfjsVersion": "1.3.1", "labels": NAMES, "imageSize": 224}),
        json.dumps([{"id": number, "name": name} for number, name in enumerate(NAMES)]),
    ],
)
@pytest.mark.parametrize("kind", ["utf-8", "utf-16"])
def test_known_forms(text, kind, tmp_path):
    (tmp_path / "labels.txt").write_bytes(text.encode(kind))
    assert read_labels(tmp_path / "labels.txt") == NAMES


def test_a_yaml_file_of_yolo(tmp_path):
    (tmp_path / "data.yaml").write_text("nc: 3\nnames: [stop, go, 'turn left']\n")
    assert read_labels(tmp_path / "data.yaml") == NAMES


def test_a_table_with_one_column_names_it(tmp_path):
    (tmp_path / "labels.csv").write_text("label\nstop\ngo\nturn left\n")
    assert read_labels(tmp_path / "labels.csv") == NAMES


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0\n1\n2\n", ("0", "1", "2")),
        ("tench, Tinca tinca\ngoldfish, Carassius auratus\n", ("tench, Tinca tinca", "goldfish, Carassius auratus")),
        ("2 door\n4 door\n", ("2 door", "4 door")),
        ("1 way\n2 way\n3 way\n", ("1 way", "2 way", "3 way")),
        ("0 background\n1 person\n3 car\n", ("background", "person", "class 2", "car")),
        ("0 background\n\n1 person\n\n\n3 car\n", ("background", "person", "class 2", "car")),
        ("\n\nstop\ngo\n", ("stop", "go")),
        ("stop\ngo\n\n\nand 255 is the ignore label that marks pixels\nexcluded from learning.\n", ("stop", "go")),
        ("name\nstop\n", ("name", "stop")),
        ("# comment\nstop\n", ("# comment", "stop")),
        ("???\nstop\n???\ngo\n", ("class 0", "stop", "class 2", "go")),
        ("person\nN/A\ncar\nN/A\n", ("person", "class 1", "car", "class 3")),
        ("item { id: 1 name: \"men's shoe\" }\nitem { id: 2 name: 'x' }\n", ("men's shoe", "x")),
        ("\u0646\u200c\u0645\nstop\n", ("\u0646\u200c\u0645", "stop")),
        ('{"134": "crane", "0": "tench", "1": "ray"}', None),
        ('{"0": "crane", "1": "crane"}', ("crane", "crane (2)")),
    ],
)
def test_what_looks_like_another_form(text, labels, tmp_path):
    (tmp_path / "labels.txt").write_text(text)
    if labels is None:
        with pytest.raises(DataError, match="unknown format"):
            read_labels(tmp_path / "labels.txt")
    else:
        assert read_labels(tmp_path / "labels.txt") == labels


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n\r\n", "is empty"),
        (b"stop\ngo\nstop\n", r"contains a label twice: stop \(labels 1 and 3\): rename one"),
        (b"st\xef\xbb\xbfop\ngo\n", r"label 1, .*, contains the character U\+FEFF: remove it"),
        (b"stop\ng\x07o\n", r"label 2, .*, contains the character U\+0007"),
        (b"stop\ng\xef\xbf\xbdo\n", r"U\+FFFD"),
        (b"stop\ncaf\xe9\n", r"not UTF-8 \(line 2, byte 4 .*0xE9\): store it as UTF-8, or state .*`encoding`"),
        (b"0 stop\n0 go\n1 turn\n", "gives the number 0 to stop and to go: correct one"),
        (b"stop\n\ngo\nleft\n", "has an empty line 2 between two names, .*or write a name such as 'class 1' for this"),
        (b"\n\nstop\ngo\n\n\nleft\n", "has an empty line 5 between"),
        (b'["stop", 3]', "has an unknown format"),
        (b'["stop", ""]', "has an unknown format"),
    ],
)
def test_files_that_are_refused(data, match, tmp_path):
    (tmp_path / "labels.txt").write_bytes(data)
    with pytest.raises(DataError, match=match) as caught:
        read_labels(tmp_path / "labels.txt")
    assert "\n" not in str(caught.value)


def test_joined_files_and_another_encoding(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfstop\n\xef\xbb\xbfgo\n")
    assert read_labels(tmp_path / "labels.txt") == ("stop", "go")
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9\nth\xe9\n")
    assert read_lines(tmp_path / "labels.txt", "latin-1") == ("caf\u00e9", "th\u00e9")

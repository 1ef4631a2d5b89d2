"""The command line. Each command runs in a separate process."""

import json
import os
import signal
import socket
import subprocess
import sys

import cv2
import pytest
from helpers import factories
from helpers.command import orilla, refuse

from orilla.devices.errors import ConfigError
from orilla.runtime.argument_parser import CommandParser
from orilla.runtime.bundle.bundle import Bundle


@pytest.fixture
def clip(tmp_path):
    return factories.video(tmp_path / "clip.avi", 12, (90, 120))


def test_every_command_has_help_with_examples():
    from orilla.runtime.cli import COMMANDS

    overview = orilla("--help")
    assert overview.returncode == 0
    for name, command in COMMANDS.items():
        assert f"  {name} " in overview.stdout
        done = orilla(name, "--help")
        assert done.returncode == 0
        assert len(command.examples) > 1
        for example in command.examples:
            assert f"\n  {example}\n" in done.stdout.replace(" \\\n     ", "")
        assert orilla("help", name).stdout == done.stdout
        assert "--json" in done.stdout


def test_help_and_version_import_neither_numpy_nor_opencv():
    code = """
import contextlib, sys
from orilla.runtime import cli
for words in [["--version"], ["--help"], *([name, "--help"] for name in cli.COMMANDS)]:
    with contextlib.suppress(SystemExit):
        cli.main(words)
    for module in ("numpy", "cv2"):
        assert module not in sys.modules, f"orilla {' '.join(words)} imports {module}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_value_may_begin_with_a_minus():
    parser = CommandParser()
    parser.add_argument("--input-range", choices=("0..1", "-1..1"))
    parser.add_argument("--offset", type=float)
    parser.add_argument("--quick", action="store_true")
    commands = parser.add_subparsers()
    commands.add_parser("go").add_argument("--by")
    parsed = parser.parse_args(["--input-range", "-1..1", "--offset", "-2.5", "--quick", "go", "--by", "-3x"])
    assert (parsed.input_range, parsed.offset, parsed.quick, parsed.by) == ("-1..1", -2.5, True, "-3x")
    with pytest.raises(ConfigError, match=r"unknown value of --input-range '-2\.\.2'"):
        parser.parse_args(["--input-range", "-2..2"])


@pytest.mark.parametrize("value", ["-1..1", "-.5..0.5", "-1,2,-3", "-.5", "-1e-3,0,0", "-inf", "-0.5,-0.25,1,1"])
@pytest.mark.parametrize("joined", [False, True])
def test_every_kind_of_value_may_begin_with_a_minus(value, joined):
    parser = CommandParser()
    parser.add_argument("--mean")
    parser.add_argument("bundle", nargs="*")
    parser.add_argument("--quick", action="store_true")
    words = [f"--mean={value}"] if joined else ["--mean", value]
    for order in (["--quick", *words, "a"], [*words, "--quick", "a"], ["a", *words, "--quick"]):
        parsed = parser.parse_args(order)
        assert (parsed.mean, parsed.quick, parsed.bundle) == (value, True, ["a"])
    with pytest.raises(ConfigError, match="--mean: expected one argument"):
        parser.parse_args(["--mean", "--quick"])


def test_json_lines_are_the_default_sink(tiny_bundle, clip):
    done = orilla("run", tiny_bundle, "--source", clip)
    assert done.returncode == 0, done.stderr
    ticks = [json.loads(line) for line in done.stdout.splitlines()]
    assert [tick["index"] for tick in ticks] == list(range(12))
    assert set(ticks[0]["stages_ms"]) == {"capture", "prepare", "infer", "decode"}
    assert all(tick["age_ms"] > 0 for tick in ticks)
    assert [tick["captured_ns"] for tick in ticks] == sorted(tick["captured_ns"] for tick in ticks)
    assert "12 frames" in done.stderr


def test_several_sinks_and_a_summary(tiny_bundle, clip, tmp_path):
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    words = ("--source", clip, "--sink", f"video:{video}", "--sink", f"jsonl:{lines}", "--json", "--frames", 5)
    done = orilla("run", tiny_bundle, *words)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["frames"] == 5
    assert summary["variant"] == Bundle.open(tiny_bundle).manifest.default
    assert len(lines.read_text().splitlines()) == 5
    capture = cv2.VideoCapture(str(video))
    assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == 5


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_the_engine_can_be_chosen(tiny_bundle, clip, engine):
    done = orilla("run", tiny_bundle, "--source", clip, "--engine", engine, "--json")
    assert json.loads(done.stdout)["variant"].startswith(engine)


def test_a_closed_pipe_ends_the_loop_without_an_error(tiny_bundle):
    command = f"{sys.executable} -m orilla.runtime.cli run {tiny_bundle} --source scenes | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert json.loads(done.stdout)["index"] == 0
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_a_run_that_is_stopped_before_its_loop_starts_is_no_failure(tiny_bundle):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        words = [sys.executable, "-m", "orilla.runtime.cli", "run", tiny_bundle, "--source", address, "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out) == {
        **{"variant": "", "engine": "", "models": {}, "events": {}, "accelerator": {}, "seconds": 0.0, "sinks": {}},
        **{"sources": {}, "fps": 0.0},
    }


def test_results_for_a_closed_standard_output_are_an_error(tiny_bundle):
    for words in ("--version", f"run {tiny_bundle} --source scenes --frames 2", "show --json " + str(tiny_bundle)):
        command = f"{sys.executable} -m orilla.runtime.cli {words} >&-"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 2, words
        assert done.stderr.splitlines()[0].startswith("orilla: "), words
        assert "standard output: it is closed: redirect it to a file or to /dev/null" in done.stderr, words
        assert "Exception" not in done.stderr, words


def test_bad_input_gets_one_line_and_exit_code_2(tiny_bundle, clip, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    cut = tmp_path / "cut.orilla"
    cut.write_bytes(tiny_bundle.read_bytes()[:5000])
    refuse("rnu", match="did you mean run")
    refuse("run", "raod", "--source", clip, match="unknown bundle 'raod'")
    refuse("run", tiny_bundle, "--source", tmp_path / "none.mp4", match="no such file")
    refuse("run", tiny_bundle, "--source", text, match="not a video")
    refuse("run", tiny_bundle, "--source", 93, match="no camera at 93")
    refuse("run", cut, "--source", clip, match="only the beginning of a zip file")
    refuse("run", tiny_bundle, "--source", clip, "--variant", "int8", match="unknown variant 'int8': choose from")
    refuse("run", tiny_bundle, "--source", clip, "--engine", "tensorrt", match="did you mean onnx:tensorrt")
    refuse(
        "run",
        tiny_bundle,
        "--source",
        clip,
        "--engine",
        "onnx",
        "--variant",
        "litert_fp16",
        match="runs on the engine",
    )
    refuse("run", tiny_bundle, "--source", clip, "--sink", "video:x.gif", match="must end in")
    refuse("run", tiny_bundle, "--source", clip, "--threads", 0, match="--threads 0: must be 1 to 64")
    refuse("run", tiny_bundle, "--source", clip, "--threads", 100000, match="--threads 100000: must be 1 to 64")
    refuse("verify", tiny_bundle, "--data", "scnes", match="did you mean scenes")
    refuse("verify", tmp_path / "none.orilla", match="no such bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.avi", "cut.orilla", "notes.mp4"]


def test_a_truncated_video_keeps_its_outputs(tiny_bundle, tmp_path):
    whole = factories.video(tmp_path / "whole.avi", 60, (120, 160))
    cut, lines = tmp_path / "cut.avi", tmp_path / "out.jsonl"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    words = ("--source", cut, "--sink", f"video:{tmp_path}/out.mp4", "--sink", f"jsonl:{lines}", "--json")
    done = orilla("run", tiny_bundle, *words)
    assert done.returncode == 0, done.stderr
    assert f"{cut} ends early, after frame " in done.stderr
    summary = json.loads(done.stdout)
    assert summary["events"]["truncated"] == 1
    times = [json.loads(line)["time_ns"] for line in lines.read_text().splitlines()]
    assert times == [40_000_000 * index for index in range(summary["frames"])]
    assert 20 < summary["frames"] < 35
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == summary["frames"]


def test_a_damaged_frame_is_skipped_and_the_rest_of_the_file_is_answered(tiny_bundle, tmp_path):
    clip = factories.video(tmp_path / "clip.avi", 60)
    data = bytearray(clip.read_bytes())
    place = [at for at in range(len(data)) if data[at : at + 4] == b"00dc"][19]
    length = int.from_bytes(data[place + 4 : place + 8], "little")
    data[place + 8 : place + 8 + length] = bytes(length)
    clip.write_bytes(data)
    done = orilla("run", tiny_bundle, "--source", clip, "--sink", f"jsonl:{tmp_path}/out.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames"], summary["drops"], summary["events"]) == (59, {"corrupt": 1}, {"corrupt": 1})


def test_outputs_never_replace_inputs_or_each_other(tiny_bundle, clip, tmp_path):
    before = clip.read_bytes()
    refuse("run", tiny_bundle, "--source", clip, "--sink", f"video:{clip}", match="is already used")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "a.jpg"), factories.picture())
    refuse("run", tiny_bundle, "--source", pictures, "--sink", f"jsonl:{pictures}/a.jpg", match="a file of the source")
    refuse(
        "run", tiny_bundle, "--source", clip, "--sink", f"jsonl:{tiny_bundle}", match="source, bundle or another sink"
    )
    twice = ("--sink", f"jsonl:{tmp_path}/a", "--sink", f"jsonl:{tmp_path}/../{tmp_path.name}/a")
    refuse("run", tiny_bundle, "--source", clip, *twice, match="another sink")
    os.mkfifo(tmp_path / "pipe")
    refuse("run", tiny_bundle, "--source", clip, "--sink", f"jsonl:{tmp_path}/pipe", match="start the reader first")
    refuse("run", tiny_bundle, "--source", clip, "--sink", f"jsonl:{tmp_path}", match="folder")
    (tmp_path / "old.jsonl").write_text("old")
    refuse("run", tiny_bundle, "--source", clip, "--sink", f"jsonl:{tmp_path}/old.jsonl", match="exists: add ?append")
    assert (tmp_path / "old.jsonl").read_text() == "old"
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert orilla("run", tiny_bundle, "--source", clip, "--sink", f"jsonl:{tmp_path}/link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert len((tmp_path / "target").read_text().splitlines()) == 12
    assert clip.read_bytes() == before


def test_a_stopped_service_leaves_complete_files(tiny_bundle, tmp_path):
    words = ("run", tiny_bundle, "--source", "scenes", "--sink", f"video:{tmp_path}/out.mp4", "--sink", "jsonl")
    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for _ in range(5):
            process.stdout.readline()
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).read()[0]


def test_a_read_only_folder_is_an_error(tiny_bundle, clip):
    refuse("run", tiny_bundle, "--source", clip, "--sink", "video:/proc/out.mp4", match="cannot write /proc/out.mp4")


def test_a_full_disk_is_an_error(tiny_bundle, clip, tmp_path):
    """The disk is a file system with the size of one page.

    If the machine does not allow the mount, the test is skipped.
    """
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not allow the test to mount a file system")
    try:
        for sink in (f"video:{small}/out.mp4", f"jsonl:{small}/out.jsonl"):
            words = ("run", tiny_bundle, "--source", "scenes", "--frames", 40, "--sink", sink)
            refuse(*words, match=f"cannot write {small}")
            assert (small / sink.rpartition("/")[2]).exists()
            (small / sink.rpartition("/")[2]).unlink()
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_full_disk_for_standard_output_is_an_error(tiny_bundle):
    command = f"{sys.executable} -m orilla.runtime.cli run {tiny_bundle} --source scenes > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "orilla: cannot write standard output: No space left on device\n"


def test_verify_passes_and_fails_by_exit_code(tiny_bundle, tiny_data):
    done = orilla("verify", tiny_bundle, "--data", tiny_data, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    shipped = [variant.name for variant in Bundle.open(tiny_bundle).manifest.variants]
    assert [variant["variant"] for variant in document["variants"]] == shipped
    for variant in document["variants"]:
        assert [stage["name"] for stage in variant["stages"]] == ["decode", "resize", "infer", "result", "accuracy"]


def test_doctor_exits_with_1_if_a_check_fails():
    done = orilla("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["engines"]["level"] == "ok"
    assert done.returncode == (1 if any(finding["level"] == "failure" for finding in findings.values()) else 0)

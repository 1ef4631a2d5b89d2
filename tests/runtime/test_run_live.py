"""`orilla replay`, and `orilla run` with policies, several models, recordings and statistics."""

import json
import re
import shutil
import signal
import subprocess
import sys

import cv2
import pytest
from helpers import factories

from orilla.runtime.cli import main
from orilla.runtime.commands import live
from orilla.runtime.model import Model


def orilla(*words):
    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def refused(*words, match):
    done = orilla(*words)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert match in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.fixture
def clip(tmp_path):
    return factories.video(tmp_path / "clip.avi", 12, (90, 120))


@pytest.fixture
def second(tiny_bundle, tmp_path):
    return shutil.copy(tiny_bundle, tmp_path / "second.orilla")


def test_the_policy_drops_frames_and_counts_them(tiny_bundle, clip):
    done = orilla("run", tiny_bundle, "--source", clip, "--policy", "rate:5", "--json")
    summary = json.loads(done.stdout)
    assert summary["drops"] == {"rate": summary["dropped"]}
    assert summary["frames"] + summary["dropped"] == 12
    assert summary["frames"] == 3
    assert summary["drop_ratio"] == 0.75
    assert set(summary["p99_ms"]) == set(summary["max_ms"]) == set(summary["p50_ms"]) >= {"age", "sink", "total"}


def test_a_recording_and_its_replay(tiny_bundle, clip, tmp_path):
    recording = tmp_path / "drive.rec"
    assert orilla("run", tiny_bundle, "--source", clip, "--policy", "latest", "--record", recording).returncode == 0
    same = orilla("replay", recording)
    assert same.returncode == 0, same.stderr
    assert same.stdout.endswith("under latest: the same\n")
    simulated = json.loads(orilla("replay", recording, "--policy", "every", "--infer-ms", "500", "--json").stdout)
    assert simulated["simulated"]["every"]["frames"] == 12
    assert simulated["simulated"]["every"]["age_ms"]["max"] > 1000
    lines = recording.read_text().splitlines()
    gone = next(number for number, line in enumerate(lines) if '"deliver"' in line)
    recording.write_text("\n".join(line for number, line in enumerate(lines) if number != gone) + "\n")
    differs = orilla("replay", recording)
    assert differs.returncode == 1
    assert "they differ, starting at decision" in differs.stdout


def test_several_models_and_a_cascade(tiny_bundle, second, clip, tmp_path):
    done = orilla("run", tiny_bundle, second, "--source", clip, "--sink", "jsonl", "--sink", f"video:{tmp_path}/o.avi")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 12
    assert set(lines[0]["result"]["answers"]) == {"second", tiny_bundle.stem}
    done = orilla(
        "run", tiny_bundle, "--cascade", second, "--source", clip, "--sink", f"video:{tmp_path}/p.avi", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["models"]) == {tiny_bundle.stem, "second"}


def test_options_that_do_not_go_together_are_rejected(tiny_bundle, second, clip, tmp_path):
    refused("run", tiny_bundle, tiny_bundle, "--source", clip, match="must have different names")
    refused("run", tiny_bundle, second, "--source", clip, "--variant", "litert_fp32", match="needs exactly one bundle")
    refused("run", tiny_bundle, second, "--source", clip, "--cascade", second, match="needs exactly one bundle")
    refused("run", tiny_bundle, "sentiment", "--source", clip, match="does not take images")
    refused("run", tiny_bundle, "--source", clip, "--policy", "newest", match="unknown policy 'newest'")
    refused("run", tiny_bundle, "--source", clip, "--record", clip, match="choose another file name")
    refused(
        "run", tiny_bundle, "--cascade", second, "--source", clip, "--record", second, match="choose another file name"
    )
    refused("run", tiny_bundle, "--source", clip, "--policy", "", match="unknown policy ''")
    refused("run", tiny_bundle, "--source", "rtsp://", match="not a URL")
    refused("run", tiny_bundle, "--source", tmp_path / "x.avi", "--record", "/none/x.rec", match="no such file")
    refused("replay", clip, match="line 1 is not valid in a recording")
    refused("replay", tmp_path / "none.rec", match="cannot read")
    refused("replay", clip, "--infer-ms", "-1", match="must be 0 to")


def test_existing_outputs_are_replaced_on_request(tiny_bundle, clip, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for _ in range(2):
        done = orilla(
            "run", tiny_bundle, "--source", clip, "--sink", "video:out.avi?overwrite", "--record", "drive-%f.rec"
        )
        assert done.returncode == 0, done.stderr


def test_a_recording_that_cannot_be_written_ends_before_the_loop(tiny_bundle, clip, tmp_path):
    refused(
        "run", tiny_bundle, "--source", clip, "--record", tmp_path / "none" / "x.rec", match="No such file or directory"
    )
    assert not (tmp_path / "none").exists()


def test_a_damaged_image_in_a_folder_is_skipped(tiny_bundle, tmp_path):
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), factories.picture())
    (tmp_path / "b.png").write_bytes(b"not a picture")
    done = orilla("run", tiny_bundle, "--source", tmp_path)
    assert done.returncode == 0
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["a.png", "c.png"]
    assert "cannot decode" in done.stderr
    assert "1 dropped (1 corrupt)" in done.stderr
    for name in ("a.png", "c.png"):
        (tmp_path / name).unlink()
    alone = orilla("run", tiny_bundle, "--source", tmp_path)
    assert alone.returncode == 2
    assert alone.stderr.splitlines()[-1].startswith("orilla: no frame could be used: cannot decode")


def test_the_true_latency_is_read_from_the_images(tiny_bundle):
    done = orilla("run", tiny_bundle, "--source", "scenes+clock", "--frames", 5, "--clock", "--json")
    summary = json.loads(done.stdout)
    assert 0 < summary["p50_ms"]["clock"] < 10_000
    plain = json.loads(orilla("run", tiny_bundle, "--source", "scenes", "--frames", 2, "--clock", "--json").stdout)
    assert "clock" not in plain["p50_ms"]
    paced = orilla(
        "run", tiny_bundle, "--source", "scenes+clock", "--policy", "latest", "--frames", 5, "--clock", "--json"
    )
    figures = json.loads(paced.stdout)
    assert figures["max_ms"]["age"] <= figures["max_ms"]["clock"] + 1


def test_live_statistics(tiny_bundle, monkeypatch, capfd):
    monkeypatch.setattr(live, "LINE_S", 0.001)
    assert main(["run", str(tiny_bundle), "--source", "scenes", "--frames", "20", "--stats"]) == 0
    assert "newest" in capfd.readouterr().err
    with Model.open(tiny_bundle) as model, model.stream([factories.picture()] * 3) as stream:
        assert live.line(stream.stats()).startswith("0 frames")
        list(stream)
        figures = stream.stats()
    assert live.line(figures).startswith("3 frames")
    assert live.table(figures).row_count == len(figures.stages)


@pytest.mark.parametrize("words", [(), ("--frames", 1)])
def test_texts_from_standard_input(words):
    command = [sys.executable, "-m", "orilla.runtime.cli", "run", "sentiment", "--source", "-", *map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"a fine film\n\na dull film")
        process.stdin.flush()
        if not words:
            process.stdin.close()
        lines = process.stdout.read().splitlines()
        assert process.wait(60) == 0, process.stderr.read()
    assert [json.loads(line)["text"] for line in lines] == ["a fine film", "a dull film"][: 1 if words else 2]


def test_a_stopped_service_without_input_ends_without_an_error():
    command = [sys.executable, "-m", "orilla.runtime.cli", "run", "sentiment", "--source", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(b"a fine film\n")
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, 130), process.stderr.read()


def test_several_sources_have_names(tiny_bundle, clip, tmp_path):
    sources = ("--source", f"front={clip}", "--source", f"rear={clip}")
    sinks = ("--sink", f"jsonl:{tmp_path}/all.jsonl", "--sink", f"csv:{tmp_path}/{{source}}.csv")
    done = orilla("run", tiny_bundle, *sources, *sinks, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {name: figures["frames"] for name, figures in summary["sources"].items()} == {"front": 12, "rear": 12}
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert sorted(line["source"] for line in lines) == ["front"] * 12 + ["rear"] * 12
    for name in ("front", "rear"):
        assert len((tmp_path / f"{name}.csv").read_text().splitlines()) == 13


def test_sources_and_their_names_are_checked(tiny_bundle, clip, tmp_path):
    refused("run", tiny_bundle, "--source", clip, "--source", clip, match="several sources need names")
    refused("run", tiny_bundle, "--source", f"a={clip}", "--source", f"a={clip}", match="the name a is given twice")
    two = ("--source", f"a={clip}", "--source", f"b={clip}")
    refused("run", tiny_bundle, *two, "--policy", "c=latest", match="unknown source c; the names are: a, b")
    refused("run", tiny_bundle, *two, "--sink", f"video:{tmp_path}/x.mp4", match="add {source} to the name")
    refused(
        "run",
        tiny_bundle,
        *two,
        "--sink",
        f"jsonl:{tmp_path}/{{source}}",
        "--sink",
        f"jsonl:{tmp_path}/a",
        match="the same --sink is given twice",
    )


def test_lines_for_people_are_the_default_on_a_terminal(tiny_bundle, clip):
    code = (
        f"import pty, sys; pty.spawn([sys.executable, '-m', 'orilla.runtime.cli', 'run', {str(tiny_bundle)!r}, "
        f"'--source', {str(clip)!r}, '--frames', '3'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    lines = [line for line in done.stdout.splitlines() if re.fullmatch(r"\d  .+ \d+ %  \d+ ms", line)]
    assert len(lines) == 3, done.stdout

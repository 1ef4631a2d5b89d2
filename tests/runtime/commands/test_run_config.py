import argparse
import queue
import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from helpers.command import orilla

from orilla.devices.errors import ConfigError
from orilla.runtime.cli import main
from orilla.runtime.commands import notify, run_config, service
from orilla.runtime.commands.run import add_arguments

ROVER = """
bundle = "road"
sink = ["jsonl:log/%Y%m%d.jsonl?every=1h", "none"]
threads = 1
stats = true
track-gap = 0.5

[source]
front = 0
rear = "rtsp://HOST/NAME"

[count-line]
gate = [0.1, 0.6, 0.9, 0.6]
"""


@pytest.fixture
def config(tmp_path):
    """Function that writes a configuration file."""

    def write(text):
        path = tmp_path / "rover.toml"
        path.write_text(text)
        return path

    return write


def expanded(path, *others):
    return run_config.expand([str(path), *others], add_arguments)


def test_a_file_stands_for_options(config):
    assert expanded(config(ROVER)) == shlex.split(
        "road --source=front=0 --source=rear=rtsp://HOST/NAME --sink='jsonl:log/%Y%m%d.jsonl?every=1h' --sink=none "
        "--count-line=gate=0.1,0.6,0.9,0.6 --track-gap=0.5 --threads=1 --stats"
    )


def test_options_of_the_command_line_replace_those_of_the_file(config):
    words = expanded(config(ROVER), "--source", "drive.mp4", "--threads", "2", "--frames", "3")
    assert words[-6:] == ["--source", "drive.mp4", "--threads", "2", "--frames", "3"]
    assert not [word for word in words if "front" in word or word == "--threads=1"]


def test_a_command_line_without_a_file_stays_as_it_is():
    words = ["road", "--source", "0", "--sink", "jsonl:a.toml"]
    assert run_config.expand(words, add_arguments) == words


def test_the_printed_file_stands_for_the_same_options(config, capsys):
    assert main(["run", str(config(ROVER)), "--print-config"]) == 0
    printed = capsys.readouterr().out
    first, second = expanded(config(ROVER)), expanded(config(printed))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args(first) == parser.parse_args(second)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('bundle = "road"\n\nthreds = 2', "rover.toml:3: unknown key 'threds': did you mean threads?"),
        ('bundle = "road"\nthreads = "many"', "rover.toml:2: threads = many: expected a whole number"),
        ('bundle = "road"\nstats = 1', "rover.toml:2: stats must be true or false"),
        ('bundle = "road"\ncount-at = "top"', "rover.toml:2: count-at = top: choose from bottom, centre"),
        ('bundle = "road"\nthreads = [1, 2]', "rover.toml:2: threads must be a single value"),
        ('bundle = "road"\n[engine]\nname = "onnx"', "rover.toml:2: engine is a table"),
        ('bundle = "road"\nsink = [true]', "rover.toml:2: sink must be a string, a number, or a list of these"),
        ('source = "scenes"', "rover.toml has no key `bundle`"),
        ('bundle = "road', "rover.toml: "),
    ],
)
def test_errors_state_the_line(config, text, message):
    with pytest.raises(ConfigError) as caught:
        expanded(config(text))
    assert message in str(caught.value)


def test_all_errors_in_a_file_are_told_together(config):
    start = 'sorce = "0"\nmodel = "a"\npolicy = "lastest"\nengin = 1\n'
    text = f'{start}sink = ["jsonll:a", "csv:b"]\nstats = 3\nthreads = "x"'
    with pytest.raises(ConfigError) as caught:
        expanded(config(text))
    message = str(caught.value)
    assert "\n" not in message
    assert "rover.toml has 8 errors: has no key `bundle`" in message
    for part in (
        "line 1: unknown key 'sorce': did you mean source?; line 2: unknown key 'model': choose from bundle,",
        "line 3: unknown policy 'lastest': did you mean latest?; line 4: unknown key 'engin': did you mean engine?; ",
        "line 5: unknown sink 'jsonll': did you mean jsonl?; line 6: stats must be true or false; line 7: threads = x:",
    ):
        assert part in message
    with pytest.raises(ConfigError) as caught:
        expanded(config('bundle = "road"\nfoo = 1\nbar = 2\npolicy = { front = "rate:0" }'))
    assert str(caught.value).count("choose from") == 1


def test_a_dry_run_says_what_would_run(config, tmp_path):
    path = config(f'bundle = "road"\nsource = "scenes"\npolicy = "rate:5"\nsink = "jsonl:{tmp_path}/out.jsonl"')
    done = orilla("run", path, "--dry-run")
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert "model road: litert_wi8_ai8 on" in text
    assert "source: scenes (scenes), policy rate:5" in text
    assert f"sink: jsonl:{tmp_path}/out.jsonl" in text
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_runs(config, tmp_path):
    path = config(f'bundle = "road"\nsource = "scenes"\nframes = 3\nsink = "jsonl:{tmp_path}/out.jsonl"')
    assert orilla("run", path).returncode == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


class Systemd:
    """A socket that receives the notifications of a service."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            self.lines.put(self.socket.recv(4096).decode())

    def received(self):
        """Return the lines since the last call."""
        time.sleep(0.05)
        return [self.lines.get() for _ in range(self.lines.qsize())]


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return Systemd(tmp_path / "notify")


def test_systemd_learns_that_the_loop_runs(systemd, monkeypatch, capfd):
    monkeypatch.setattr(notify, "STATUS_S", 0.05)
    assert main(["run", "road", "--source", "scenes", "--frames", "10", "--sink", "none"]) == 0
    lines = systemd.received()
    assert lines[0] == "READY=1"
    assert lines[-1] == "STOPPING=1"
    assert any(line.startswith("STATUS=") and "answers per second" in line for line in lines)
    assert "WATCHDOG=1" not in lines


def test_the_watchdog_is_fed_while_the_loop_works_as_intended(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with notify.ServiceNotifier(lambda: "fine") as notifier:
        for _ in range(4):
            notifier.ticked()
            time.sleep(0.1)
        assert systemd.received().count("WATCHDOG=1") >= 3
        time.sleep(0.4)
        systemd.received()
        time.sleep(0.3)
        assert "WATCHDOG=1" not in systemd.received()
        notifier.event("lost", "front")
        time.sleep(0.3)
        assert "WATCHDOG=1" in systemd.received()
        notifier.event("back", "front")
        time.sleep(0.1)
        systemd.received()
        time.sleep(0.3)
        assert "WATCHDOG=1" not in systemd.received()


def test_the_watchdog_of_another_process_is_not_fed(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    with notify.ServiceNotifier(lambda: "fine"):
        time.sleep(0.1)
    assert systemd.received() == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize("words", [(), ("--user",)])
def test_the_unit_is_valid(config, tmp_path, monkeypatch, words):
    folder = tmp_path / "system"
    monkeypatch.setattr(service, "SYSTEM", folder)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    path = config('bundle = "road"\nsource = "scenes"')
    assert main(["service", "install", str(path), *words]) == 0
    unit = (tmp_path / service.USER if words else folder) / "orilla-rover.service"
    text = unit.read_text()
    assert f'"run" "{path}"' in text
    assert ("User=" in text) == (not words)
    if words or not Path("/usr/bin/systemd-analyze").exists():
        return
    done = subprocess.run(["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_service_needs_a_configuration_that_works(config, tmp_path, capsys):
    def refused(path, *words):
        assert main(["service", "show", str(path), *words]) == 2
        return capsys.readouterr().err

    assert "no such file" in refused(tmp_path / "none.toml")
    assert "rover.toml:2: unknown key 'threds'" in refused(config('bundle = "road"\nthreds = 1'))
    assert "use letters, digits" in refused(config('bundle = "road"'), "--name", "a b")


def test_a_supervisor_that_does_not_read_blocks_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unread:
        unread.bind(str(tmp_path / "notify"))
        notifier = notify.ServiceNotifier(lambda: "fine")
        began = time.monotonic()
        for _ in range(100):
            notifier._send("STATUS=fine")
        assert time.monotonic() - began < 2


def test_specifiers_and_quotes_are_escaped():
    assert service._quoted('a "b" %i $HOME') == '"a \\"b\\" %%i $$HOME"'

"""Downloads from a real server on the loopback interface that closes connections, resumes, and sends wrong content."""

import hashlib
import http.server
import io
import json
import tarfile
import threading

import numpy as np
import pytest
from helpers import datasets

from orilla.devices.errors import ConfigError, DataError, OutputError
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import download, open_dataset
from orilla.runtime.evaluation.datasets.download import File, Published, fetch, get

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges_requested.append(self.headers.get("Range"))
        if self.path not in server.content:
            self.send_error(404)
            return
        data = server.content[self.path]
        start = 0
        if self.headers.get("Range") and server.supports_ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(data)
        self.wfile.write(data[start : start + cut])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.cuts = {"/data.bin": CONTENT}, []
    server.ranges_requested, server.supports_ranges = [], True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def file(server, **options):
    return File(f"http://127.0.0.1:{server.server_port}/data.bin", **options)


def download_to(server, target, **options):
    pauses, progress = [], []
    fetch(file(server, **options), target, lambda *sizes: progress.append(sizes), pause=pauses.append)
    return pauses, progress


def test_a_download_is_checked_and_reports_its_progress(server, tmp_path):
    pauses, progress = download_to(server, tmp_path / "data.bin", sha256=SHA256)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert pauses == []
    assert progress[-1] == (300_000, 300_000)
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_a_broken_connection_is_resumed_at_the_same_byte(server, tmp_path):
    server.cuts = [100_000, 50_000]
    pauses, _ = download_to(server, tmp_path / "data.bin", sha256=SHA256)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.ranges_requested == [None, "bytes=100000-", "bytes=150000-"]
    assert len(pauses) == 2


def test_the_partial_file_of_a_killed_download_is_used(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:70_000])
    download_to(server, tmp_path / "data.bin", sha256=SHA256)
    assert server.ranges_requested == ["bytes=70000-"]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_whole_file_again(server, tmp_path):
    server.supports_ranges = False
    (tmp_path / "data.bin.part").write_bytes(b"x" * 70_000)
    download_to(server, tmp_path / "data.bin", sha256=SHA256)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_download_without_progress_fails_and_keeps_the_partial_file(server, tmp_path):
    server.cuts = [1000] + [0] * 50
    with pytest.raises(DataError, match=r"the connection failed .*run the command again to resume"):
        download_to(server, tmp_path / "data.bin")
    assert len(server.ranges_requested) == 1 + download.ATTEMPTS
    assert (tmp_path / "data.bin.part").stat().st_size == 1000
    server.cuts = []
    download_to(server, tmp_path / "data.bin", sha256=SHA256)
    assert server.ranges_requested[-1] == "bytes=1000-"


@pytest.mark.parametrize("options", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"bytes": 5}])
def test_a_file_with_a_wrong_checksum_or_size_is_discarded(server, tmp_path, options):
    with pytest.raises(DataError, match=r"published: the file was discarded"):
        download_to(server, tmp_path / "data.bin", **options)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_server_disk_and_name_have_messages(server, tmp_path):
    server.content = {}
    with pytest.raises(DataError, match="the server responded 404"):
        download_to(server, tmp_path / "data.bin")
    server.content = {"/data.bin": CONTENT}
    with pytest.raises(OutputError, match="cannot write"):
        download_to(server, tmp_path / "none" / "data.bin")
    with pytest.raises(ConfigError, match="unknown published data set 'mnits': did you mean mnist"):
        get("mnits", lambda name: lambda received, total: None)


def test_a_downloaded_data_set_opens_by_name(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))
    stream = io.BytesIO()
    np.savez(
        stream,
        x_train=np.zeros((3, 28, 28), np.uint8),
        y_train=np.arange(3, dtype=np.uint8),
        x_test=np.zeros((2, 28, 28), np.uint8),
        y_test=np.arange(2, dtype=np.uint8),
    )
    server.content["/mnist.npz"] = stream.getvalue()
    published_set = Published("MNIST", "x", (File(f"http://127.0.0.1:{server.server_port}/mnist.npz"),))
    monkeypatch.setattr(download, "published", lambda: {"mnist": published_set})
    monkeypatch.setattr("orilla.runtime.evaluation.datasets.download.published", lambda: {"mnist": published_set})
    with pytest.raises(DataError, match="mnist is not downloaded: run orilla data get mnist"):
        open_dataset("mnist")
    assert main(["data", "get", "mnist", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["train"]["samples"] == 3
    assert len(open_dataset("mnist").names("test")) == 2
    requests = len(server.ranges_requested)
    assert main(["data", "get", "mnist"]) == 0
    assert len(server.ranges_requested) == requests
    assert main(["data", "list"]) == 0
    assert "yes" in capsys.readouterr().out


def test_a_downloaded_data_set_of_several_files_opens_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path))
    datasets.imdb(tmp_path / "imdb")
    with pytest.raises(DataError, match="imdb is not downloaded"):
        open_dataset("imdb")
    (tmp_path / "imdb" / download.COMPLETE).touch()
    assert open_dataset("imdb").load("train", 0).text == "good plot dull"


def test_a_tar_is_unpacked_only_into_its_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))

    def packed(*names):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.size = 4
                archive.addfile(entry, io.BytesIO(b"good"))
        return stream.getvalue()

    names = [f"aclImdb/{split}/{kind}/0.txt" for split in ("train", "test") for kind in ("neg", "pos")]
    server.content = {"/a.tar.gz": packed(*names), "/b.tar.gz": packed("../../evil.txt")}
    address = f"http://127.0.0.1:{server.server_port}"
    data_sets = {kind: Published("", "", (File(f"{address}/{kind}.tar.gz", extract=True),)) for kind in "ab"}
    folder = get("a", lambda name: lambda received, total: None, data_sets)
    assert open_dataset(folder).classes == ("neg", "pos")
    (tmp_path / "cache" / "c").mkdir()
    (tmp_path / "cache" / "c" / "a.tar.gz").write_bytes(packed(*names))  # A killed process leaves this file behind.
    data_sets["c"] = Published("", "", (File(f"{address}/a.tar.gz", extract=True),))
    assert open_dataset(get("c", lambda name: lambda received, total: None, data_sets)).classes == ("neg", "pos")
    with pytest.raises(DataError, match=r"cannot unpack b\.tar\.gz"):
        get("b", lambda name: lambda received, total: None, data_sets)
    assert not (tmp_path / "evil.txt").exists()
    assert not (tmp_path / "cache" / "evil.txt").exists()

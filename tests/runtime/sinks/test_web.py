import asyncio
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import cv2
import numpy as np
import pytest
from helpers import ticks

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.sinks import sink_thread
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkThread
from orilla.runtime.sources.source import now_ns

pytest.importorskip("aiohttp")


def shown(index=0, source=None, size_hw=(48, 64), result=None, **drops):
    """Return a tick with an image, which was captured 20 ms ago."""
    now = now_ns()
    image = np.full((*size_hw, 3), index % 256, np.uint8)
    frame = Frame(index, image, now - 20_000_000)
    return Tick(frame, result or ticks.classified(), {"infer": 12.0}, now, drops, source)


@pytest.fixture
def served():
    """Return a function that opens a sink. The function's attribute `reports` contains the reports of the sinks."""
    sinks = []

    def serve(spec="web:0", **setup):
        serve.reports = []
        sinks.append(sink_opener(spec).open(Setup(report=serve.reports.append, **setup)))
        return sinks[-1]

    yield serve
    for sink in sinks:
        sink.close()


def get(sink, path, headers=None):
    """Return the status, the headers and the body of a reply. No redirection is followed."""
    connection = http.client.HTTPConnection("127.0.0.1", sink.address.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def stats(sink):
    return json.loads(get(sink, "/stats.json")[2])


@contextmanager
def stream(sink, path="/stream.mjpg"):
    """Open a stream that is read part by part."""
    with urllib.request.urlopen(f"http://127.0.0.1:{sink.address.port}{path}", timeout=10) as reply:
        yield reply


def part(reply):
    """Return the index of the frame and the image of the next part of a stream."""
    headers = {}
    assert reply.readline() == b"--frame\r\n"
    while (line := reply.readline()) != b"\r\n":
        name, _, value = line.decode().partition(": ")
        headers[name] = value.strip()
    assert headers["Content-Type"] == "image/jpeg"
    data = reply.read(int(headers["Content-Length"]))
    assert reply.readline() == b"\r\n"
    return int(headers["X-Frame-Index"]), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@contextmanager
def writing(sink, rate_hz=100.0, **options):
    """Write ticks in the background. Yield a list with the index of the newest one."""
    stop, last = threading.Event(), [0]

    def write():
        while not stop.wait(1 / rate_hz):
            last[0] += 1
            sink.write(shown(last[0], **options))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield last
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def encoded(monkeypatch):
    """Record the index of each frame that is encoded."""
    from orilla.runtime.sinks import web_server

    numbers, encode = [], web_server.encode

    def record(tick, options):
        numbers.append(tick.index)
        return encode(tick, options)

    monkeypatch.setattr(web_server, "encode", record)
    return numbers


def test_the_page_loads_nothing_from_elsewhere(served):
    sink = served()
    status, headers, page = get(sink, "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"@NONCE@" not in page
    assert b"There is no frame yet" in page
    assert page.count(b"http://") == page.count(b"http://www.w3.org/2000/svg")
    assert b"https://" not in page
    sink.write(shown(source="a<b"))
    assert b'src="/stream.mjpg?source=a%3Cb" alt="Newest frame a&lt;b"' in get(sink, "/")[2]
    assert served.reports == [f"serves http://{sink.address}/"]


def test_figures(served):
    sink = served()
    for index in range(5):
        sink.write(shown(index, superseded=index, corrupt=1))
    sink.event(Event("lost", 5, now_ns(), "no frames"))
    document = stats(sink)
    (source,) = document["sources"]
    assert (source["name"], source["answers"], source["has_image"]) == ("", 5, True)
    assert source["tick"]["drops"] == {"superseded": 4, "corrupt": 1}
    assert source["tick"]["result"]["top"]["label"] == "cat"
    assert source["history"][-1][1:] == [pytest.approx(20, abs=1), 12]
    assert document["event_counts"] == {"lost": 1}
    assert [(event["kind"], event["detail"]) for event in document["events"]] == [("lost", "no frames")]


def test_rate_and_history(served, monkeypatch):
    from orilla.runtime.sinks import web_board

    sink = served()
    with writing(sink, 50):
        time.sleep(3)
    (source,) = stats(sink)["sources"]
    assert 5 < source["fps"] <= 51
    assert 5 <= len(source["history"]) <= 40
    assert -4 < source["history"][0][0] < source["history"][-1][0] <= 0
    monkeypatch.setattr(web_board, "now_ns", lambda: now_ns() + 60_000_000_000)
    (source,) = stats(sink)["sources"]
    assert (source["fps"], round(source["silent_s"])) == (0, 60)


def test_a_snapshot_is_the_newest_frame_and_is_encoded_once(served, encoded):
    sink = served("web:0?max_side=100&quality=95")
    status, headers, _ = get(sink, "/snapshot.jpg")
    assert (status, headers["Retry-After"]) == (503, "1")
    sink.write(shown(7, size_hw=(300, 400)))
    for _ in range(3):
        status, headers, body = get(sink, "/snapshot.jpg")
        assert (status, headers["X-Frame-Index"], headers["Content-Type"]) == (200, "7", "image/jpeg")
        assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).shape == (75, 100, 3)
    assert encoded == [7]


def test_nothing_is_encoded_while_nobody_watches(served, encoded):
    sink = served("web:0?fps=50")
    with writing(sink):
        time.sleep(0.5)
        assert encoded == []
        with stream(sink) as reply:
            first = part(reply)[0]
            assert part(reply)[0] > first
        deadline, count = time.monotonic() + 10, -1
        while count != len(encoded):  # The server notices that the viewer has left.
            assert time.monotonic() < deadline
            count = len(encoded)
            time.sleep(0.3)


def test_every_frame_is_encoded_once_for_all_viewers(served, encoded):
    sink, seen = served("web:0?fps=50"), []

    def watch():
        with stream(sink) as reply:
            seen.append([part(reply)[0] for _ in range(15)])

    with writing(sink):
        time.sleep(0.1)
        viewers = [threading.Thread(target=watch) for _ in range(6)]
        for viewer in viewers:
            viewer.start()
        for viewer in viewers:
            viewer.join()
    assert len(seen) == 6
    assert len(set(encoded)) == len(encoded)
    for numbers in seen:
        assert numbers == sorted(numbers)


def test_the_newest_picture_is_repeated_once(served, encoded):
    """Chromium shows a picture only when the next one begins."""
    sink = served()
    sink.write(shown(3))
    with stream(sink) as reply:
        assert [part(reply)[0] for _ in range(2)] == [3, 3]
        sink.write(shown(4))
        assert [part(reply)[0] for _ in range(2)] == [4, 4]
    assert encoded == [3, 4]


def test_a_slow_viewer_skips_frames_and_delays_nobody(served):
    sink = served("web:0?fps=100&quality=100&max_side=2000")
    noise = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)

    def written(index):
        now = now_ns()
        return Tick(Frame(index, noise, now), ticks.classified(), {"infer": 1.0}, now)

    sink.write(written(0))
    with stream(sink) as slow:
        part(slow)
        with stream(sink) as fast:
            for index in range(1, 60):
                began = time.monotonic()
                sink.write(written(index))
                assert time.monotonic() - began < 0.5
                time.sleep(0.03)
            deadline = time.monotonic() + 20
            while part(fast)[0] < 59:
                assert time.monotonic() < deadline
        numbers = [0]
        while numbers[-1] < 59:
            numbers.append(part(slow)[0])
        assert len(set(numbers)) < 50, "the slow viewer received nearly all frames"


def test_several_sources(served):
    sink = served()
    sink.write(shown(1, source="rear"))
    sink.write(shown(2, source="front"))
    assert [source["name"] for source in stats(sink)["sources"]] == ["front", "rear"]
    assert get(sink, "/snapshot.jpg?source=rear")[1]["X-Frame-Index"] == "1"
    assert get(sink, "/snapshot.jpg")[1]["X-Frame-Index"] == "2"
    status, _, body = get(sink, "/stream.mjpg?source=left")
    assert (status, body) == (404, b"unknown source: choose from front, rear\n")


def test_a_loop_without_images_has_figures_only(served):
    sink = served()
    sink.write(ticks.tick(4))
    assert stats(sink)["sources"][0]["has_image"] is False
    assert get(sink, "/snapshot.jpg")[0] == 503


def test_server_sent_events_end_with_the_loop(served):
    sink = served()
    sink.write(shown(1))
    with stream(sink, "/events") as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        assert reply.readline() == b"retry: 1000\n"
        for answers in (1, 2):
            line = reply.readline()
            assert json.loads(line.removeprefix(b"data: "))["sources"][0]["answers"] == answers
            assert reply.readline() == b"\n"
            sink.write(shown(2))
        sink.close()
        assert b"event: end\n" in reply.read()


@pytest.mark.parametrize("path", ["/stream.mjpg", "/events"])
def test_close_does_not_wait_for_viewers(served, path):
    sink = served("web:0?fps=100")
    sink.write(shown())
    with writing(sink, size_hw=(720, 1280)), stream(sink, path) as idle:
        time.sleep(1)
        assert idle.readline()
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 3
    again = served(f"web:{sink.address.port}")  # The port is free immediately.
    assert again.address == sink.address


def test_streams_are_limited(served, monkeypatch):
    from orilla.runtime.sinks import web_server

    monkeypatch.setattr(web_server, "MOST_STREAMS", 1)
    sink = served()
    sink.write(shown())
    with stream(sink) as reply:
        part(reply)
        assert get(sink, "/events")[0] == 503
        assert get(sink, "/snapshot.jpg")[0] == 200


def test_a_silent_viewer_is_disconnected(served, monkeypatch, encoded):
    from orilla.runtime.sinks import web_server

    monkeypatch.setattr(web_server, "SEND_S", 0.3)
    sink = served("web:0?fps=100&quality=100")
    noise = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    with socket.create_connection(("127.0.0.1", sink.address.port)) as viewer:
        viewer.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {sink.address}\r\n\r\n".encode())
        index = count = 0
        quiet_since = time.monotonic()
        deadline = quiet_since + 20
        while time.monotonic() - quiet_since < 1 and time.monotonic() < deadline:
            index += 1
            now = now_ns()
            sink.write(Tick(Frame(index, noise, now), ticks.classified(), {"infer": 1.0}, now))
            time.sleep(0.02)
            if len(encoded) > count:
                count, quiet_since = len(encoded), time.monotonic()
        assert time.monotonic() < deadline, "pictures are still encoded for a viewer that reads nothing"


# Access


def test_a_token_is_needed_and_becomes_a_cookie(served, tmp_path):
    file = tmp_path / "token"
    file.write_text("correct horse & battery\n")
    sink = served(f"web:127.0.0.1:0?token_file={file}")
    sink.write(shown())
    assert "horse" not in str(served.reports)
    paths = ("/", "/snapshot.jpg", "/stats.json", "/stream.mjpg", "/events", "/absent")
    for path in paths:
        assert get(sink, path)[0] == 401, path
        assert get(sink, f"{path}?token=correct")[0] == 401, path
        assert get(sink, path, {"Cookie": f"orilla-{sink.address.port}=correct"})[0] == 401, path
    token = "token=correct%20horse%20%26%20battery"
    status, headers, _ = get(sink, f"/?{token}")
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "horse" not in cookie
    for path in ("/", "/snapshot.jpg", "/stats.json"):
        assert get(sink, path, {"Cookie": cookie.partition(";")[0]})[0] == 200, path
        assert path == "/" or get(sink, f"{path}?{token}")[0] == 200, path
    assert get(sink, f"/stats.json?token={'x' * 2000}")[0] == 401
    assert get(sink, "/stats.json?token=%ff%00")[0] == 401


def test_other_machines_need_a_token(served):
    sink = served("web:0.0.0.0:0")
    (report,) = served.reports
    assert get(sink, "/")[0] == 401
    url = report.removeprefix("serves ")
    assert url.startswith("http://")
    assert f":{sink.address.port}/?token=" in url
    assert get(sink, "/" + url.rpartition("/")[2])[0] == 303
    assert len(url.rpartition("=")[2]) >= 20


def test_the_token_of_the_environment(served, monkeypatch):
    monkeypatch.setenv("ORILLA_WEB_TOKEN", "a long token")
    sink = served("web:0.0.0.0:0")
    assert "token" not in served.reports[0]
    assert get(sink, "/stats.json?token=a%20long%20token")[0] == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("192.168.1.5:8080", 200),
        ("Rover.lan.:8080", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("", 403),
        ("[::1", 200),
    ],
)
def test_only_known_host_names(served, host, status):
    sink = served("web:0?name=rover.lan")
    assert get(sink, "/", {"Host": host})[0] == status


@pytest.mark.parametrize(
    "request_",
    ["POST / HTTP/1.1", "GET /../../etc/passwd HTTP/1.1", "GET /x HTTP/9", "\0\1", "HEAD /stream.mjpg HTTP/1.1"],
)
def test_wrong_requests_do_not_disturb(served, request_):
    sink = served()
    sink.write(shown())
    with socket.create_connection(("127.0.0.1", sink.address.port), timeout=5) as client:
        client.sendall(f"{request_}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.")
    assert get(sink, "/stats.json")[0] == 200


# Errors before the loop starts


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("web:host:port", "is not an address"),
        ("web:99999", "is not an address"),
        ("web:me@host:80", "must not contain a user name"),
        ("web:0?fps=0", "fps=0"),
        ("web:0?quality=101", "quality=101"),
        ("web:0?max_side=3", "max_side=3"),
        ("web:0?token_file=absent", "cannot read token_file=absent"),
        ("web:0?token=secret", "unknown option"),
    ],
)
def test_bad_specifications(spec, message):
    with pytest.raises(ConfigError, match=message) as raised:
        sink_opener(spec).open(Setup())
    assert "\n" not in str(raised.value)


def test_a_short_token(tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    with pytest.raises(ConfigError, match="has 6 characters: give at least 8"):
        sink_opener(f"web:0?token_file={file}").open(Setup())


def test_port_in_use(served):
    sink = served()
    with pytest.raises(OutputError, match=f"another program uses port {sink.address.port} of 127.0.0.1"):
        sink_opener(f"web:{sink.address.port}").open(Setup())


def test_a_host_that_is_not_this_machine():
    with pytest.raises(OutputError, match="not an address of this machine"):
        sink_opener("web:192.0.2.1:8080").open(Setup())


# Failures while the loop runs


class Undrawable:
    def draw(self, image):
        raise ZeroDivisionError

    def to_dict(self):
        return {"task": "undrawable"}


def test_a_result_that_cannot_be_drawn_is_reported_once(monkeypatch):
    monkeypatch.setattr(sink_thread, "FIRST_WAIT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    events = []
    thread = SinkThread(sink_opener(f"web:{port}"), Setup(live=True), events.append)
    thread.write(shown(0, result=Undrawable()))
    while thread.counts.written < 1:
        time.sleep(0.01)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/snapshot.jpg", timeout=10)
    deadline = time.monotonic() + 10
    while not any("was reopened" in event.detail for event in events):
        thread.write(shown(1))
        time.sleep(0.05)
        assert time.monotonic() < deadline, events
    assert sum("ZeroDivisionError" in event.detail for event in events) == 1
    thread.write(shown(2))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats.json", timeout=10) as reply:
        assert reply.status == 200
    counts = thread.close()
    assert counts.failed is None


@pytest.mark.timing
@pytest.mark.parametrize("viewer", ["none", "dead", "slow"])
def test_viewers_do_not_disturb_the_loop(viewer):
    """A viewer that reads little or nothing never causes dropped ticks."""
    events = []
    thread = SinkThread(sink_opener("web:0"), Setup(live=True), events.append)
    port = int(events[0].detail.rpartition(":")[2].strip("/"))
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(0.01)
        if viewer != "none":
            client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def write(tick):
            if viewer == "slow":
                with suppress(TimeoutError):
                    client.recv(1000)
            return thread.write(shown(tick.index, size_hw=(240, 320)))

        rate_hz = ticks.drive(write, 100, 50.0)
    counts = thread.close()
    assert rate_hz >= 0.9 * 50
    assert (counts.written, counts.dropped, counts.failed) == (100, 0, None)
    assert len(events) == 1


# In a browser


def browse(sink, folder, check, **options):
    """Open the page in Chromium, call a coroutine with the browser, and check that the page has no errors."""
    from helpers.browser import chromium

    async def visit():
        async with chromium(folder) as browser:
            await browser.open(f"http://{sink.address}/", **options)
            await check(browser)
            assert browser.errors == []

    asyncio.run(visit())


LOADED = "document.images.length > 0 && [...document.images].every((image) => image.naturalWidth > 0)"


@pytest.mark.parametrize("size_wh", [(390, 844), (1440, 900)], ids=["phone", "desktop"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_in_a_browser(served, tmp_path, size_wh, dark):
    sink = served()
    sink.event(Event("lost", 0, now_ns(), "the <b>cable</b> is loose"))

    async def check(browser):
        await browser.wait(f"document.querySelectorAll('dd').length > 4 && {LOADED}")
        assert await browser.value("document.documentElement.scrollWidth") == size_wh[0], "the page is too wide"
        text = await browser.value("document.body.innerText")
        for part in ("Running for", "Dropped: superseded", "per s", "the <b>cable</b> is loose", "label: cat"):
            assert part in text, part
        assert await browser.value("document.querySelectorAll('.plot path').length") == 2
        picture = cv2.imdecode(np.frombuffer(await browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        assert (picture[2:6, -6:-2].mean() < 60) == dark
        assert picture.shape[:2] == size_wh[::-1]

    with writing(sink, 20, size_hw=(240, 320), superseded=3):
        browse(sink, tmp_path, check, size_wh=size_wh, dark=dark)


def test_pictures_without_javascript(served, tmp_path):
    sink = served()
    sink.write(shown(1, source="front"))
    sink.write(shown(1, source="rear"))

    async def check(browser):
        await asyncio.sleep(1)
        picture = cv2.imdecode(np.frombuffer(await browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        dark = (picture.max(axis=2) < 30).mean()
        assert dark > 0.3, "the frames, which are black, are not shown"

    browse(sink, tmp_path, check, size_wh=(1440, 900), script=False)


def test_the_page_says_that_the_loop_has_ended(served, tmp_path):
    sink = served()
    sink.write(shown(1))

    async def check(browser):
        await browser.wait(f"document.querySelectorAll('dd').length > 3 && {LOADED}")
        await asyncio.to_thread(sink.close)
        await browser.wait("document.getElementById('status').textContent === 'The loop has ended'")
        browser.errors.clear()  # The browser logs that the connection was refused.

    browse(sink, tmp_path, check, size_wh=(390, 844))

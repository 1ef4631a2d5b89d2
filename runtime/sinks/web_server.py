"""The HTTP server of the sink `web`. It runs an event loop in its own thread."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from html import escape
from importlib.resources import files
from urllib.parse import quote

import msgspec
from aiohttp import web

from orilla.runtime.frame import Tick, wall_time
from orilla.runtime.sinks.web_access import Access
from orilla.runtime.sinks.web_board import Board
from orilla.runtime.sinks.web_pictures import Newest, Picture, PictureOptions, Pictures, encode

FEED_S = 0.5
"""Interval in seconds between two updates of the statistics on the page."""

SEND_S = 10.0
"""Time in seconds after which a viewer that accepts no data is disconnected."""

REPEAT_S, KEEP_S = 0.2, 5.0
"""Times in seconds after which the newest picture is sent again: the first time after `REPEAT_S`, then every `KEEP_S`.
Chromium shows a picture only when the next one begins. The server notices that a viewer has left only when it sends
something."""

MOST_STREAMS = 64
"""Maximum number of simultaneous streams of pictures and statistics."""

UNSENT_BYTES = 65_536
"""Maximum number of unsent bytes in the system's buffers for one stream. With more, a slow viewer would see old
pictures."""

SHUTDOWN_S = 1.0
"""Number of seconds to wait for viewers to receive the end of a stream."""

START_S = CLOSE_S = 5.0
"""Time limits in seconds for starting and stopping the server."""

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every response. They stop other sites from showing the pictures, and browsers from passing on URLs, which
may contain the token."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """Serves the page, the pictures and the statistics.

    Args:
        listener: Listening socket. The server closes it.
        board: The newest ticks.
        access: The rules that each request must meet.
        options: Settings for drawing and encoding pictures.
    """

    def __init__(self, listener: socket.socket, board: Board, access: Access, options: PictureOptions) -> None:
        self._board, self._access, self._options = board, access, options
        self._cookie = f"orilla-{listener.getsockname()[1]}"
        self._template = files("orilla.runtime.sinks").joinpath("web_page.html").read_text(encoding="utf-8")
        self._executor = ThreadPoolExecutor(1, "orilla-web-draw")
        self._pictures: dict[str, Pictures] = {}
        self._streams = 0
        self._readers = 0
        self._feed: Newest[bytes] = Newest()
        self._feed_task: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """Reason why the server has stopped working. None if it works."""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(listener, started), name="orilla-web", daemon=True)
        self._thread.start()
        started.result(START_S)

    def close(self) -> None:
        """End all streams and stop the server."""
        with suppress(RuntimeError):  # The event loop has already ended.
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_S)

    def _run(self, listener: socket.socket, started: Future[None]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(listener, started))
        except Exception as error:  # noqa: BLE001 - any failure ends the sink, not the process
            self._fail(error)
            if not started.done():
                started.set_exception(error)
        finally:
            listener.close()
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._loop.close()

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        app = web.Application(middlewares=[self._checked], client_max_size=1024)
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/snapshot.jpg", self._snapshot)
        app.router.add_get("/stats.json", self._stats)
        app.router.add_get("/stream.mjpg", self._stream, allow_head=False)
        app.router.add_get("/events", self._events, allow_head=False)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True, keepalive_timeout=30.0
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            started.set_result(None)
            await self._stop.wait()
        finally:
            self._feed.publish(None)
            for pictures in self._pictures.values():
                pictures.newest.publish(None)
            await runner.cleanup()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request if the access rules allow it. The first request with the token receives a cookie."""
        access = self._access
        if not access.allows_host(request.headers.get("Host")):
            raise web.HTTPForbidden(text="unknown host name: use the IP address, or start the sink with ?name=HOST\n")
        given = request.query.get("token")
        if given is not None and access.token is not None:
            if not access.allows_token(given):
                raise web.HTTPUnauthorized(text="wrong token\n")
            if request.path == "/":
                # After the redirection, the browser's address bar and history do not contain the token.
                reply = web.HTTPSeeOther(location="/")
                reply.set_cookie(self._cookie, access.cookie, httponly=True, samesite="Lax", max_age=30 * 86400)
                raise reply
        elif not access.allows_cookie(request.cookies.get(self._cookie)):
            raise web.HTTPUnauthorized(text="a token is needed: open the page as http://HOST:PORT/?token=TOKEN\n")
        try:
            return await handler(request)
        except (web.HTTPException, OSError, asyncio.CancelledError):
            raise
        except Exception as error:
            self._fail(error)
            raise web.HTTPInternalServerError(text="the sink failed\n") from error

    async def _page(self, request: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'nonce-{nonce}'; "
        policy += f"script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        html = self._template.replace("@NONCE@", nonce).replace("<!--PICTURES-->", _pictures_html(self._board.names()))
        return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _snapshot(self, request: web.Request) -> web.Response:
        picture = await self._source(request).snapshot()
        if picture is None:
            raise web.HTTPServiceUnavailable(text="there is no picture yet\n", headers={"Retry-After": "1"})
        return web.Response(body=picture.jpeg, content_type="image/jpeg", headers=_frame_headers(picture))

    async def _stats(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._document(), content_type="application/json")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send pictures until the viewer leaves, as `multipart/x-mixed-replace`."""
        pictures = self._source(request)
        response = await self._begin(request, "multipart/x-mixed-replace; boundary=frame")
        try:
            async with pictures.watched() as newest:
                await _send(response, b"--frame\r\n")
                number, picture = await newest.after(0)
                limit_s = REPEAT_S
                while picture is not None:
                    await _send(response, _part(picture))
                    sent = number
                    number, picture = await newest.after(sent, limit_s)
                    limit_s = REPEAT_S if number > sent else KEEP_S
        finally:
            self._streams -= 1
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send the statistics as Server-Sent Events until the viewer leaves."""
        response = await self._begin(request, "text/event-stream")
        self._readers += 1
        if self._feed_task is None:
            self._feed = Newest()
            self._feed_task = asyncio.create_task(self._publish())
        try:
            await _send(response, b"retry: 1000\ndata: " + await self._document() + b"\n\n")
            feed = self._feed
            number, data = await feed.after(0)
            while data is not None:
                await _send(response, b"data: " + data + b"\n\n")
                number, data = await feed.after(number)
            await _send(response, b"event: end\ndata: {}\n\n")
        finally:
            self._streams -= 1
            self._readers -= 1
            if not self._readers and self._feed_task is not None:
                self._feed_task.cancel()
                self._feed_task = None
        return response

    async def _publish(self) -> None:
        """Publish the statistics at intervals. This task runs as long as there are readers."""
        while True:
            await asyncio.sleep(FEED_S)
            try:
                self._feed.publish(await self._document())
            except Exception as error:  # noqa: BLE001 - the result of a plug-in may raise anything
                self._fail(error)
                return

    async def _begin(self, request: web.Request, content_type: str) -> web.StreamResponse:
        """Begin a streamed response. The caller must decrement `_streams` when the stream ends."""
        if self._streams >= MOST_STREAMS:
            raise web.HTTPServiceUnavailable(text=f"too many viewers: there are already {MOST_STREAMS} streams\n")
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.force_close()
        await response.prepare(request)
        if request.transport is not None:
            request.transport.set_write_buffer_limits(0)
            connection = request.transport.get_extra_info("socket")
            if connection is not None:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._streams += 1
        return response

    async def _draw(self, tick: Tick) -> bytes:
        """Draw and encode a tick. The sink ends if a result cannot be drawn."""
        try:
            return await self._loop.run_in_executor(self._executor, encode, tick, self._options)
        except Exception as error:
            self._fail(error)
            raise

    async def _document(self) -> bytes:
        return await self._loop.run_in_executor(self._executor, lambda: msgspec.json.encode(self._board.document()))

    def _source(self, request: web.Request) -> Pictures:
        """Return the pictures of the source named in the query, or of the first source."""
        names = self._board.names()
        source = request.query.get("source", names[0] if names else None)
        if source is None:
            raise web.HTTPServiceUnavailable(text="there is no frame yet\n", headers={"Retry-After": "1"})
        if source not in names:
            raise web.HTTPNotFound(text=f"unknown source: choose from {', '.join(names)}\n")
        if source not in self._pictures:
            self._pictures[source] = Pictures(source, self._board, self._draw, self._options.fps)
        return self._pictures[source]

    def _fail(self, error: BaseException) -> None:
        self.failure = f"the server failed: {type(error).__name__}: {' '.join(str(error).split())}"


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    response.headers.update(HEADERS)


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Send data. Raise `ConnectionError` if the viewer has left or accepts no data."""
    try:
        await asyncio.wait_for(response.write(data), SEND_S)
    except asyncio.TimeoutError as error:  # Since Python 3.11, this is the built-in `TimeoutError`.
        raise ConnectionResetError from error


def _frame_headers(picture: Picture) -> dict[str, str]:
    return {"X-Frame-Index": str(picture.tick.index), "X-Captured-At": wall_time(picture.tick.captured_ns)}


def _part(picture: Picture) -> bytes:
    """Return one part of the stream. It includes the next boundary, because browsers show only complete parts."""
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(picture.jpeg)), **_frame_headers(picture)}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + b"\r\n" + picture.jpeg + b"\r\n--frame\r\n"


def _pictures_html(names: list[str]) -> str:
    """Return the HTML of the pictures for browsers without JavaScript."""
    if not names:
        return '<meta http-equiv="refresh" content="2"><p>There is no frame yet.</p>'
    return "".join(
        f'<figure><img src="/stream.mjpg?source={quote(name, safe="")}" alt="Newest frame {escape(name)}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name in names
    )

"""A headless Chromium, which the tests control with the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

START_S = 60.0
"""Longest time in seconds until Chromium runs. It takes several seconds on a busy machine."""


class Browser:
    """One page of Chromium."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        """Errors of the page's script, and violations of its content security policy."""

    async def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=START_S)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.errors.append(str(message["params"]))

    async def open(self, url: str, size_wh: tuple[int, int], *, dark: bool = False, script: bool = True) -> None:
        """Open a page in a window of this size in pixels."""
        await self.call("Page.enable")
        await self.call("Runtime.enable")
        await self.call("Log.enable")
        width, height = size_wh
        is_phone = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Emulation.setScriptExecutionDisabled", value=not script)
        await self.call("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def wait(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until an expression of JavaScript is true."""
        deadline = time.monotonic() + seconds
        while not await self.value(expression):
            assert time.monotonic() < deadline, f"not true after {seconds} s: {expression}"
            await asyncio.sleep(0.1)

    async def screenshot(self) -> bytes:
        """Return the visible part of the page as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """Run Chromium with an empty profile in a folder. Skip the test if it is not installed."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    options = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --remote-debugging-port=0"
    command = [program, *options.split(), f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = await _debugging_port(folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [page for page in await answer.json() if page["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Browser(socket)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _debugging_port(file: Path) -> int:
    deadline = time.monotonic() + START_S
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < deadline, "Chromium did not start"
        await asyncio.sleep(0.1)
    return int(file.read_text().split()[0])

"""Deploy to another machine over ssh: send the files that it lacks, and run `orilla deploy` there."""

from __future__ import annotations

import hashlib
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from orilla.devices.errors import ConfigError
from orilla.devices.progress import Progress
from orilla.runtime.bench.remote.environment import FOLDER, environment, find_python
from orilla.runtime.bench.remote.job import command_of, send_code
from orilla.runtime.bench.remote.ssh import Remote, RemoteError
from orilla.runtime.bench.remote.wheel import ONNX, REQUIREMENTS, SIGN, wheel
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.deployment import digest_of
from orilla.runtime.bundle.partial import write_part

DEPLOY_S = 3600.0
"""Time limit in seconds for the installation on the machine, which includes the verification."""


class Device:
    """A folder on another machine, and the command that starts Orilla there.

    Args:
        url: `ssh://[USER@]HOST[:PORT]/PATH`. A path that begins with `~/` is relative to the home folder.
        progress: Receives the progress.

    Raises:
        ConfigError: The URL is invalid.
        RemoteError: The machine cannot be reached, or has no suitable Python.
    """

    def __init__(self, url: str, progress: Progress) -> None:
        parts = urlsplit(url)
        path = unquote(parts.path)
        if len(path.strip("/")) == 0:
            msg = f"to={url}: add the folder on the machine, as in ssh://pi@robot/home/pi/road or ssh://pi@robot/~/road"
            raise ConfigError(msg)
        self._remote = Remote(parts._replace(path="").geturl(), progress)
        home = path.removeprefix("/~/")
        self._folder = shlex.quote(path) if home == path else f'"$HOME"/{shlex.quote(home)}'
        python = find_python(self._remote)
        code, _ = send_code(self._remote, wheel(), python)
        self._code, self._python = code, python

    def deploy(self, bundle: Bundle, options: tuple[str, ...], *, signed: bool) -> dict[str, Any]:
        """Send the files that the machine lacks, install the release there, and return the JSON document.

        Args:
            bundle: The bundle.
            options: Options of `orilla deploy` on the machine.
            signed: True if the machine must check the signature.
        """
        needs_onnx = bundle.manifest.variant(bundle.manifest.default).format == "onnx"
        requirements = {**REQUIREMENTS, **(ONNX if needs_onnx else {}), **(SIGN if signed else {})}
        self._python, _ = environment(self._remote, self._python, requirements, {})
        present = self.run("--status").get("hashes")
        there = {str(sha) for sha in present} if isinstance(present, list) else set()
        digest = digest_of(bundle.manifest_bytes, bundle.signature)
        with tempfile.TemporaryDirectory() as local:
            part = Path(local, "part.orilla")
            size = write_part(part, bundle, there)
            data = part.read_bytes()
        folder = f"{FOLDER}/deploy/{digest}-{hashlib.sha256(data).hexdigest()[:16]}"
        path = f"{folder}/part.orilla"
        self._remote.report(f"sending {size / 2**20:.2f} MiB, and verifying the release")
        self._remote.send(data, path)
        try:
            document = self.run(f'"$HOME"/{shlex.quote(path)}', *options, timeout_s=DEPLOY_S)
        finally:
            self._remote.run(f'rm -rf "$HOME"/{shlex.quote(folder)}', check=False)
        return {**document, "sent_bytes": len(data)}

    def run(self, *words: str, timeout_s: float = 120.0) -> dict[str, Any]:
        """Run `orilla deploy` on the machine and return its JSON document.

        Args:
            words: Command-line arguments, quoted for a shell.
            timeout_s: Time limit in seconds.

        Raises:
            RemoteError: The command failed.
        """
        command = f"{command_of(self._python, self._code)} deploy --to {self._folder} {' '.join(words)} --json"
        output = self._remote.run(f"{command} 2>&1", timeout_s=timeout_s, check=False)
        try:
            start = output.index("{")
            document = json.JSONDecoder().raw_decode(output[start:])[0]
            if isinstance(document, dict):
                return document
        except (ValueError, RecursionError):
            pass
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        msg = f"{self._remote.name}: {lines[-1].removeprefix('orilla: ')[:300] if lines else 'it printed nothing'}"
        raise RemoteError(msg) from None

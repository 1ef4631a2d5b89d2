"""Probation of a new release: if the loop that runs it dies, the next start uses the previous release."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from orilla.devices.errors import ConfigError, OrillaError, OutputError, SourceError
from orilla.runtime.bundle.deployment import MAX_STARTS, Deployment, Probation, locked, rolled_back

BLAMELESS = (ConfigError, SourceError, OutputError)
"""Errors that end a loop but are not the fault of the release: a wrong option, a lost camera, a full disk."""


class Trial:
    """One run of a release under probation.

    Args:
        folder: Folder of the deployment.
        seconds: Time for which the loop must run and answer.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds
        self._started_s: float | None = None
        self._over = False

    def answered(self) -> None:
        """Record that the loop has given an answer. When the probation is over, the release has passed."""
        if self._over:
            return
        now_s = time.monotonic()
        if self._started_s is None:
            self._started_s = now_s
        if now_s - self._started_s >= self._seconds:
            self._end(passed=True)

    def ended(self, error: BaseException | None) -> str | None:
        """Record the end of the loop. Return a line if the release was rolled back, else None.

        Args:
            error: The error that ended the loop. None if the loop was stopped or its source ended.
        """
        if self._over:
            return None
        if isinstance(error, Exception) and not isinstance(error, BLAMELESS):
            self._over = True
            with locked(self._folder):
                deployment = Deployment.read(self._folder)
                if deployment is None or deployment.record.probation is None:
                    return None
                return _roll_back(deployment, str(error) if isinstance(error, OrillaError) else type(error).__name__)
        self._end(passed=False)
        return None

    def _end(self, *, passed: bool) -> None:
        """End the trial. If the release has not passed, its probation continues with the next start."""
        self._over = True
        with locked(self._folder):
            deployment = Deployment.read(self._folder)
            if deployment is None or (probation := deployment.record.probation) is None:
                return
            left = None if passed else Probation(probation.seconds)
            deployment.switch(msgspec.structs.replace(deployment.record, probation=left))


def begin(folder: Path) -> tuple[Trial | None, str | None]:
    """Begin a run of a deployment. Call this function before the bundle is opened.

    Args:
        folder: Folder of the deployment. Any other path has no effect.

    Returns:
        The trial, or None if there is no probation; and a line if the release was rolled back, else None.

    Raises:
        OutputError: The folder cannot be written.
    """
    if not folder.is_dir() or (found := Deployment.read(folder)) is None or found.record.probation is None:
        return None, None
    with locked(folder):
        deployment = Deployment.read(folder)
        if deployment is None or (probation := deployment.record.probation) is None:
            return None, None
        boot = _boot()
        if boot in probation.starts or len(probation.starts) >= MAX_STARTS:
            how = "with the process" if boot in probation.starts else f"with the machine {MAX_STARTS} times"
            line = _roll_back(deployment, f"its loop ended {how} within {probation.seconds:g} s")
            if line is not None:
                return None, line
        started = Probation(probation.seconds, (*probation.starts, boot))
        deployment.switch(msgspec.structs.replace(deployment.record, probation=started))
    return Trial(folder, probation.seconds), None


def _roll_back(deployment: Deployment, reason: str) -> str | None:
    """Return to the previous release, and return the line that says so. None if there is no previous release."""
    bad, good = deployment.record.current, deployment.record.previous
    if good is None:
        return None
    rolled_back(deployment, reason)
    return f"{deployment.folder}: the new release {bad.path} failed: {reason}; {good.path} is in force again"


def _boot() -> str:
    """Return the identity of this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"

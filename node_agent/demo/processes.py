"""The demo's processes: our own two programs, started as a user would start them, and stopped by pid."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

_READY_WITHIN: Final = 30.0
_STOPPED_WITHIN: Final = 10.0
_POLL: Final = 0.05

T = TypeVar("T")


class DemoFailed(Exception):
    """The demo cannot go on: something that it needs is not there, or did not do its part."""


class Programs:
    """Runs `node-agent` and `control-plane` of this very installation, and ends all that it started."""

    def __init__(self, log_dir: Path, environment: Mapping[str, str]) -> None:
        self._log_dir = log_dir
        self._environment = dict(environment)
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, program: str, *arguments: str) -> str:
        """What a command prints. Raises DemoFailed when it fails."""
        done = subprocess.run(  # noqa: S603  (our own programs, no shell)
            self._command(program, arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_READY_WITHIN,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"{program} {' '.join(arguments[:2])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def json(self, program: str, *arguments: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.run(program, *arguments, "--json"))

    def start(self, name: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process whose output goes to `<name>.log`."""
        with (self._log_dir / f"{name}.log").open("ab") as log:
            return self._started(program, arguments, stdout=log, stderr=log)

    def follow(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process whose standard output is to be read."""
        return self._started(program, arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def stop(self, process: subprocess.Popen[bytes]) -> tuple[int, float]:
        """Ask a process to end; its exit code, and the seconds that it took."""
        asked = time.monotonic()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if process in self._running:
            self._running.remove(process)
        return code, time.monotonic() - asked

    def stop_all(self) -> None:
        """End what is still running, the latest first."""
        for process in reversed(list(self._running)):
            self.stop(process)

    def log(self, name: str) -> str:
        """The end of a process's log."""
        return "\n".join((self._log_dir / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    def _started(self, program: str, arguments: tuple[str, ...], **streams: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603
            self._command(program, arguments), env=self._environment, stdin=subprocess.DEVNULL, **streams
        )
        self._running.append(process)
        return process

    @staticmethod
    def _command(program: str, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", program.replace("-", "_"), *arguments]


def wait_until(what: str, found: Callable[[], T | None], *, within: float = _READY_WITHIN) -> T:
    """What `found` finds in the end. Raises DemoFailed when it has found nothing `within` so many seconds."""
    deadline = time.monotonic() + within
    while (value := found()) is None:
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {within:.0f} s in vain for {what}")
        time.sleep(_POLL)
    return value

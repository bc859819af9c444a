"""The demo's processes: our own two programs, started as a user would start them, and stopped by pid."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
        """What a command prints. Raises DemoFailed when it fails, or does not end in time."""
        process = self._started(program, arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        what = f"{program} {' '.join(arguments[:2])}"
        try:
            printed, said = (stream.decode(errors="replace") for stream in process.communicate(timeout=_READY_WITHIN))
        except subprocess.TimeoutExpired:
            self.stop(process)
            raise DemoFailed(f"{what}: not done within {_READY_WITHIN:.0f} s") from None
        self._running.remove(process)
        if process.returncode != 0:
            raise DemoFailed(f"{what}: {said.strip() or printed.strip()}")
        return printed

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
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        if process in self._running:
            self._running.remove(process)
        return code, time.monotonic() - asked

    def stop_all(self) -> None:
        """End what is still running, the latest first. Who asks to stop again in the meantime is not heard before."""
        with _uninterrupted():
            for process in reversed(list(self._running)):
                self.stop(process)

    def log(self, name: str) -> str:
        """The end of a process's log."""
        return "\n".join((self._log_dir / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    def _started(self, program: str, arguments: tuple[str, ...], **streams: Any) -> subprocess.Popen[bytes]:
        command = self._command(program, arguments)
        with _uninterrupted():  # else nobody would know of a process that was interrupted while it was made
            process = subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, **streams)  # noqa: S603
            self._running.append(process)
        return process

    @staticmethod
    def _command(program: str, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", program.replace("-", "_"), *arguments]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Lets Ctrl-C, and what is taken as one, wait for the end of the block. For the main thread, which gets signals."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        signal.raise_signal(signal.SIGINT)


def wait_until(what: str, found: Callable[[], T | None], *, within: float = _READY_WITHIN) -> T:
    """What `found` finds in the end. Raises DemoFailed when it has found nothing `within` so many seconds."""
    deadline = time.monotonic() + within
    while (value := found()) is None:
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {within:.0f} s in vain for {what}")
        time.sleep(_POLL)
    return value

"""What tests of several rooms share: our own programs as processes, and waiting with an end."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

WITHIN: Final = 60.0
CANDLES: Final = Path(__file__).parent.parent / "node_agent/demo/data/btc-perp-2022-01-24.csv.gz"

T = TypeVar("T")


def until(found: Callable[[], T | None], what: str, within: float = WITHIN) -> T:
    """What `found` finds in the end; the test fails when that is nothing."""
    deadline = time.monotonic() + within
    while (value := found()) is None:
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


def environment(**more: str) -> dict[str, str]:
    """The environment without anybody's settings for a node or a server."""
    theirs = ("NODE_", "CONTROL_PLANE_", "DATABASE_", "REDIS_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return clean | more


def with_room_for(size: int) -> Callable[[], None]:
    """For `preexec_fn`: the process can write no file beyond so many bytes, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def node_agent(*arguments: str | Path, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """`node-agent` as a process, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "node_agent", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        env=environment(**environ),
        input=stdin or "",
    )


def told(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that a failed command says; the test fails when it says it in another way."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    errors = [line for line in lines if "-agent: error: " in line]
    assert len(errors) == 1, done.stderr
    return errors[0].partition("error: ")[2]


@dataclass
class NodeDir:
    """A node of the tests' own."""

    path: Path
    key_file: Path

    @classmethod
    def made(cls, parent: Path, *options: str | Path, candles: Path = CANDLES) -> NodeDir:
        """A new paper node, by the very words that outsiders script."""
        node = cls(parent / "node", parent / "vault.key")
        done = node_agent(
            "init",
            "--data-dir",
            node.path,
            "--paper",
            "--candles",
            candles,
            "--vault-key-file",
            node.key_file,
            "--non-interactive",
            *options,
        )
        assert done.returncode == 0, done.stderr
        return node

    def status(self) -> dict[str, Any]:
        """`node-agent status --json`."""
        done = node_agent("status", "--data-dir", self.path, "--json")
        assert done.returncode == 0, done.stderr
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts


class NodeProcess:
    """`node-agent run`, from `with` to its end; killed by pid when the test did not stop it."""

    def __init__(self, node: NodeDir, *options: str, **environ: str) -> None:
        self._log = node.path / "run.log"
        self._command = [sys.executable, "-m", "node_agent", "run", "--data-dir", str(node.path), *options]
        self._environment = environment(**environ)

    def __enter__(self) -> NodeProcess:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """SIGTERM; exit code and seconds."""
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN), time.monotonic() - asked

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

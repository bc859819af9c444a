"""A tap on a line of loopback: hands every byte on, both ways, and keeps them all.

A module of tests of what goes to the control plane takes both fixtures: `wire, server = tap.wire, tap.server`.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.control_plane.support import ServerProcess

_CHUNK: Final = 65536
_SECONDS: Final = 60.0


class Tap:
    """Listens on a free port in front of `port`, which may be set later, from `with` to its end."""

    def __init__(self) -> None:
        self.port = 0
        self._kept, self._sent = bytearray(), bytearray()
        self._lock = threading.Lock()
        tap = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", tap.port), timeout=_SECONDS) as behind:
                    back = threading.Thread(target=tap._copy, args=(behind, self.request, tap._kept), daemon=True)
                    back.start()
                    tap._copy(self.request, behind, tap._kept, tap._sent)
                    back.join(_SECONDS)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.authority = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.authority}"

    def __enter__(self) -> Tap:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def kept(self) -> bytes:
        """Every byte that has passed."""
        with self._lock:
            return bytes(self._kept)

    @property
    def sent(self) -> bytes:
        """Every byte that callers have said, and none of the answers."""
        with self._lock:
            return bytes(self._sent)

    def _copy(self, source: socket.socket, sink: socket.socket, *into: bytearray) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                with self._lock:
                    for kept in into:
                        kept.extend(chunk)
                sink.sendall(chunk)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire() -> Iterator[Tap]:
    """The line to the control plane."""
    with Tap() as tap:
        yield tap


@pytest.fixture
def server(tmp_path: Path, wire: Tap) -> Iterator[ServerProcess]:
    """A control plane, which is reached by the wire."""
    started = ServerProcess(tmp_path / "server", ("--authority", wire.authority)).start()
    wire.port = started.port
    yield started
    started.end()

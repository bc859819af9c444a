"""A relay on loopback between node and server that keeps what passes: the thief on the line of the demo's attacks."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_CHUNK: Final = 65536
_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Captured:
    """One request as it crossed the line."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Relay:
    """Listens on a free port of loopback and hands every byte on to `port`, keeping the requests.

    A thread a connection: the demo has one node. `close` ends it.
    """

    def __init__(self, port: int) -> None:
        self._answered: list[Captured] = []
        self._lock = threading.Lock()
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                relay._pump(self.request, port)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="demo-relay", daemon=True).start()

    @property
    def authority(self) -> str:
        """`host:port` that the node is told to speak to."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def last_answered(self, path: str) -> Captured | None:
        """The newest request to this path that the server has answered, so that it cannot overtake itself."""
        with self._lock:
            return next((each for each in reversed(self._answered) if each.path == path), None)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _pump(self, client: socket.socket, port: int) -> None:
        asked: list[Captured] = []

        def answered() -> None:
            with self._lock:
                self._answered.extend(asked)
                asked.clear()

        with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as server:
            client.settimeout(_TIMEOUT)
            back = threading.Thread(target=_copy, args=(server, client, answered), daemon=True)
            back.start()
            pending = b""
            while chunk := _receive(client):
                whole, pending = _whole_requests(pending + chunk)
                with self._lock:
                    asked.extend(whole)
                server.sendall(chunk)
            _shut(server)
            back.join(_TIMEOUT)


def _whole_requests(data: bytes) -> tuple[list[Captured], bytes]:
    """The whole requests at the front of `data`, and what is not whole yet."""
    whole: list[Captured] = []
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return whole, data
        request_line, *lines = head.decode("latin-1").split("\r\n")
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        if len(rest) < length:
            return whole, data
        method, path, _ = request_line.split(" ", 2)
        whole.append(Captured(method, path, headers, rest[:length]))
        data = rest[length:]


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(_CHUNK)
    except OSError:
        return b""


def _copy(source: socket.socket, target: socket.socket, each: Callable[[], None]) -> None:
    with suppress(OSError):
        while chunk := _receive(source):
            each()
            target.sendall(chunk)
    _shut(target)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)

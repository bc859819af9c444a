"""Requests a second from end to end: a server that verifies beside the same server that does not.

uvicorn, one worker, on loopback; a client in this process with some connections, one request on each at a time. The
verifying server also signs its answers. Rounds of both servers take turns, and the fastest of each counts.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.messages import batch
from benchmarks.server_app import OK, PATH
from tests.services import free_port
from tests.support import until
from verifier import SignedRequest

SIZE: Final = 1024
KINDS: Final = ("asgi", "starlette", "fastapi")
# Syncs of one node must come in their order, so they have one connection, and an echo on one beside them.
CONTESTS: Final = (
    ("echo", 8, "echo"),
    ("authenticate", 8, "authenticate"),
    ("echo", 1, "echo, one connection"),
    ("verify", 1, "whole sync, one connection"),
)


def measure(seconds: float) -> list[dict[str, Any]]:
    """A row for each framework; about so many seconds for each."""
    return [_row(kind, seconds) for kind in KINDS]


def _row(kind: str, seconds: float) -> dict[str, Any]:
    best = dict.fromkeys(((checks, connections) for checks, connections, _ in CONTESTS), 0.0)
    with ExitStack() as stack:
        ports = {checks: _served(stack, kind, checks) for checks in ("echo", "authenticate", "verify")}
        deadline, number = time.perf_counter() + seconds, 0
        while not number or time.perf_counter() < deadline:
            for checks, connections in best:
                authority = f"127.0.0.1:{ports[checks]}"
                requests = [_bytes(each) for each in batch(SIZE, first=number, path=PATH, authority=authority)]
                rate = _rate(ports[checks], requests, connections)
                best[checks, connections] = max(best[checks, connections], rate)
            number += len(requests)
    row: dict[str, Any] = {"server": kind}
    for checks, connections, what in CONTESTS:
        row[what] = {
            "per_second": round(best[checks, connections]),
            "of_the_echo": round(best[checks, connections] / best["echo", connections], 2),
        }
    return row


def _served(stack: ExitStack, kind: str, checks: str) -> int:
    """A server's port; it is stopped with the stack."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.server_app:app", "--port", str(port), "--http", "httptools"]
    settings = {"BENCH_KIND": kind, "BENCH_CHECKS": checks, "BENCH_AUTHORITY": f"127.0.0.1:{port}"}
    quiet = ["--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    process = subprocess.Popen([*command, *quiet], env={**os.environ, **settings})  # noqa: S603  (ourselves)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    until(lambda: _listens(port), f"the {kind} server")
    return port


def _listens(port: int) -> bool | None:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return None
    return True


def _bytes(request: SignedRequest) -> bytes:
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    return "\r\n".join((*lines, "", "")).encode() + request.body


def _rate(port: int, requests: list[bytes], connections: int) -> float:
    """Requests a second, over some connections. Raises RuntimeError for an answer that is not `server_app`'s."""
    waiting = iter(requests)
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(next(waiting))
            selector.register(connection, selectors.EVENT_READ, (connection, bytearray()))
        left = len(requests)
        while left:
            for key, _ in selector.select(30):
                connection, answer = key.data
                answer += connection.recv(65536)
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(f"the server answered {bytes(answer)!r}")
                if answer.endswith(OK):
                    answer.clear()
                    left -= 1
                    if (request := next(waiting, None)) is not None:
                        connection.sendall(request)
    return len(requests) / (time.perf_counter() - began)

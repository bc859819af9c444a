"""Serving: uvicorn with the raw request target kept, heads that have an end, and a stop that waits for nobody long."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import structlog
from uvicorn import Config, Server

from control_plane.http_io import problem
from verifier.integrations.asgi_io import App
from verifier.integrations.uvicorn import RawTarget

_MOST_HEAD: Final = 256 * 1024
"""Bytes of request line and headers that one request may have."""
_STOP_SECONDS: Final = 3
"""How long open requests may take to end once the server is to stop."""

_log = structlog.get_logger("control_plane")


class Protocol(RawTarget):
    """Answers what is no HTTP with problem details, and ends a head that does not end."""

    _head: int = 0

    def data_received(self, data: bytes) -> None:
        """Takes what came from the line."""
        self._head += len(data)
        super().data_received(data)
        if self._head > _MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("the head does not end")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body came."""
        self._head = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answers what cannot be read as a request, and hangs up."""
        _log.info("no_http", reason=msg, peer=self.client[0] if self.client else None)
        answer = problem(400, msg)
        head = [f"HTTP/1.1 {answer.status} Bad Request", "connection: close", f"content-length: {len(answer.body)}"]
        head += [f"{name}: {value}" for name, value in answer.headers]
        self.transport.write("\r\n".join((*head, "", "")).encode("latin-1") + answer.body)
        self.transport.close()


class _Server(Server):
    """uvicorn's server, told from outside when it is ready, and stopped without dying of the signal."""

    def __init__(self, config: Config, *, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        for number in handled:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 takes any free one. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def make_server(app: App, *, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> Server:
    """A server for `app`; `run(sockets=[…])` serves until SIGTERM or SIGINT, or until `should_exit` is set.

    `on_ready` is called once it listens, `on_stop` when it is to stop: whoever holds requests lets them go then.
    """
    config = Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return _Server(config, on_ready=on_ready, on_stop=on_stop)

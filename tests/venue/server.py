"""HTTP/1.1 around the exchange: small and quick, and able to close a connection without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import httptools

from tests.venue.http import Answer, HttpRequest

Respond = Callable[[HttpRequest], Awaitable[Answer | None]]
"""What answers; None when the connection is to be closed without an answer."""


class Connection(asyncio.Protocol):
    """One caller. What it asked for is done even when it is gone."""

    def __init__(self, respond: Respond, tasks: set[asyncio.Task[None]]) -> None:
        self._respond, self._tasks = respond, tasks
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._body, self._headers = b"", b"", dict[str, str]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's word that the caller is there."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's word that the caller said something."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def on_message_begin(self) -> None:
        """The parser's word that a request begins."""
        self._url, self._body, self._headers = b"", b"", {}

    def on_url(self, url: bytes) -> None:
        """A piece of the path and query."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """The request is whole: answers it, each in a task of its own, for some answers come late."""
        path, _, query = self._url.decode("latin-1").partition("?")
        method = self._parser.get_method().decode()
        request = HttpRequest(method, path, query, self._body.decode("latin-1"), self._headers)
        task = asyncio.get_running_loop().create_task(self._answer(request, self._parser.should_keep_alive()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: HttpRequest, keep: bool) -> None:
        try:
            answer = await self._respond(request)
        except Exception:
            self._close()
            raise
        if answer is None:
            self._close()
            return
        if self._transport is None or self._transport.is_closing():
            return
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"content-type: {answer.content}",
            f"content-length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
            *([] if keep else ["connection: close"]),
        ]
        self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body)
        if not keep:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def serve(respond: Respond, port: int) -> tuple[asyncio.Server, int]:
    """Listens on loopback; gives the server and its port."""
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(respond, tasks), "127.0.0.1", port, backlog=1024)
    return server, server.sockets[0].getsockname()[1]

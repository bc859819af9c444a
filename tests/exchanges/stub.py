"""A server that gives every request the same answer, byte for byte, and keeps what it was sent; what is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Any

import pytest

from node_agent.exchanges.port import ExchangeError


async def error_of(asked: Awaitable[Any]) -> ExchangeError:
    """The error that a question, or an order, ends with."""
    with pytest.raises(ExchangeError) as raised:
        await asked
    return raised.value


class Stub:
    """On loopback, from `async with` to its end. Without an answer it closes the connection when a request is in."""

    def __init__(self, status: int = 200, body: str = "{}", headers: dict[str, str] | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        lines = [f"HTTP/1.1 {status} Word", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.answer = "\r\n".join([*lines, "", body]).encode()

    async def __aenter__(self) -> Stub:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().splitlines() if line[:15] == b"content-length:"), 0
                )
                self.requests.append(head + await reader.readexactly(length))
                if not self.answer:
                    break
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

"""A server that answers each of Crypto.com's methods with what it was told to, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from tests.cryptocom.venue import ROOT

Answers = Mapping[str, Mapping[str, Any] | Callable[[Mapping[str, Any]], Any]]


class Replay:
    """On loopback, from `async with` to its end. By method: a whole answer, or what makes a result of parameters."""

    def __init__(self, answers: Answers) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.url = ""
        self._answers = answers

    def of(self, method: str) -> list[Mapping[str, Any]]:
        """The parameters of each request for it."""
        return [params for name, params in self.asked if name == method]

    async def __aenter__(self) -> Replay:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lengths = [line[15:] for line in head.lower().splitlines() if line.startswith("content-length:")]
                body = await reader.readexactly(int(lengths[0])) if lengths else b""
                path = head.split(" ", 2)[1].partition("?")[0]
                answer = json.dumps(self._answer(path.removeprefix(ROOT), body)).encode()
                lines = ("HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(answer)}", "", "")
                writer.write("\r\n".join(lines).encode() + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, method: str, body: bytes) -> Mapping[str, Any]:
        params = json.loads(body)["params"] if body else {}
        self.asked.append((method, params))
        told = self._answers[method]
        return {"id": 1, "method": method, "code": 0, "result": told(params)} if callable(told) else told

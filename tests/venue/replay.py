"""An exchange that answers as a test tells it to, in place of one that keeps books; and keeps what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from tests.venue.http import Answer, HttpRequest
from tests.venue.server import serve


class Replay:
    """On loopback, from `async with` to its end."""

    def __init__(self, answer: Callable[[HttpRequest], Answer]) -> None:
        self.requests: list[HttpRequest] = []
        self.url = ""
        self._answer = answer

    async def __aenter__(self) -> Self:
        self._server, port = await serve(self._respond, 0)
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _respond(self, request: HttpRequest) -> Answer:
        self.requests.append(request)
        return self._answer(request)

"""A server that answers each of Crypto.com's methods with what it was told to, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.cryptocom.venue import ROOT
from tests.venue import replay
from tests.venue.http import Answer, HttpRequest
from tests.venue.writing import as_json

Answers = Mapping[str, Mapping[str, Any] | Callable[[Mapping[str, Any]], Any]]


class Replay(replay.Replay):
    """By method: a whole answer, or what makes a result of parameters."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(self._answered)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self._answers = answers

    def of(self, method: str) -> list[Mapping[str, Any]]:
        """The parameters of each request for it."""
        return [params for name, params in self.asked if name == method]

    def _answered(self, request: HttpRequest) -> Answer:
        method = request.path.removeprefix(ROOT)
        params = json.loads(request.body)["params"] if request.body else {}
        self.asked.append((method, params))
        told = self._answers[method]
        answer = {"id": 1, "method": method, "code": 0, "result": told(params)} if callable(told) else told
        return as_json(answer)

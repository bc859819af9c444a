"""Ours, connected to OKX's process or to answers of a test's own; and orders for it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from node_agent.exchanges.okx import Okx, okx_traits
from node_agent.exchanges.through_ccxt import connect
from tests.okx.case import CASE
from tests.okx.documented import INSTRUMENT
from tests.venue.http import Answer, HttpRequest
from tests.venue.replay import Replay
from tests.venue.writing import as_json

SYMBOL: Final = CASE.symbol
an_order, at_market = CASE.order, CASE.at_market


@asynccontextmanager
async def opened(url: str, **changes: Any) -> AsyncIterator[Okx]:
    """An account of ours, with traits changed by name."""
    traits = replace(okx_traits(), **changes)
    opening = CASE.opening(url)
    ours = Okx(connect(traits, opening), traits, symbol=opening.symbol, interval=opening.interval)
    try:
        yield ours
    finally:
        await ours.close()


class Told(Replay):
    """An OKX that gives each path an answer of its own, and keeps what it was sent."""

    def __init__(self, **answers: list[Any]) -> None:
        """`answers`: rows by the last part of the path, with `_` for `-`."""
        super().__init__(self._told)
        now = {"ts": str(round(time.time() * 1000))}
        self.answers = {"time": [now], "instruments": [INSTRUMENT], **answers}

    def _told(self, request: HttpRequest) -> Answer:
        data = self.answers[request.path.rpartition("/")[2].replace("-", "_")]
        return as_json({"code": "0", "data": data, "msg": ""})

    @asynccontextmanager
    async def account(self) -> AsyncIterator[Okx]:
        """Ours, connected to it."""
        async with self, opened(self.url) as ours:
            yield ours

"""Ours, connected to the process or to answers of a test's own; and orders for it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from node_agent.exchanges.coinbase import Coinbase, coinbase_traits, teach
from node_agent.exchanges.through_ccxt import connect
from tests.coinbase.caller import ROOT
from tests.coinbase.case import CASE
from tests.venue.http import Answer, HttpRequest
from tests.venue.replay import Replay
from tests.venue.writing import as_json

RECORDED: Final = json.loads((Path(__file__).parent.parent / "data/ccxt-static/coinbase.json").read_text())
SYMBOL: Final = CASE.symbol
an_order, at_market = CASE.order, CASE.at_market


@asynccontextmanager
async def opened(url: str, *, symbol: str = SYMBOL, **changes: Any) -> AsyncIterator[Coinbase]:
    """An account of ours, with traits changed by name."""
    traits = replace(coinbase_traits(), **changes)
    line = connect(traits, CASE.opening(url))
    teach(line.client)
    ours = Coinbase(line, traits, symbol=symbol, interval=CASE.interval)
    try:
        yield ours
    finally:
        await ours.close()


@asynccontextmanager
async def answering(answers: Mapping[str, Any]) -> AsyncIterator[tuple[str, list[HttpRequest]]]:
    """A server that gives each path its answer; its address, and what it was asked. The time is told by itself."""

    def answer(request: HttpRequest) -> Answer:
        if request.path == ROOT + "time":
            return as_json({"epochMillis": str(round(time.time() * 1000))})
        told = answers.get(request.path.removeprefix(ROOT))
        return as_json(told, 200 if told is not None else 404)

    async with Replay(answer) as far:
        yield far.url, far.requests


def product(base: str, quote: str) -> dict[str, str]:
    return {"product_id": f"{base}-{quote}", "base_currency_id": base, "quote_currency_id": quote}


def not_made(**said: str) -> dict[str, Any]:
    usual = {
        "error": "UNKNOWN_FAILURE_REASON",
        "message": "No.",
        "error_details": "",
        "preview_failure_reason": "UNKNOWN_PREVIEW_FAILURE_REASON",
        "new_order_failure_reason": "UNKNOWN_FAILURE_REASON",
    }
    return {
        "success": False,
        "failure_reason": "UNKNOWN_FAILURE_REASON",
        "order_id": "",
        "error_response": usual | said,
    }

"""Ours, connected to Kraken's process or to answers of a test's own; orders for it; and bodies that it once sent."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from node_agent.exchanges.kraken import Kraken, kraken_traits, open_exchange
from node_agent.exchanges.line import Line
from node_agent.exchanges.through_ccxt import connect
from tests.kraken import wire
from tests.kraken.case import CASE

SYMBOL = CASE.symbol
an_order, at_market = CASE.order, CASE.at_market


@asynccontextmanager
async def opened(url: str, symbol: str = SYMBOL) -> AsyncIterator[Kraken]:
    """An account of ours."""
    exchange = open_exchange(replace(CASE.opening(url), symbol=symbol))
    try:
        yield exchange
    finally:
        await exchange.close()


def answering(exchange: Kraken, answers: Mapping[str, Any]) -> list[str]:
    """Answers its requests by endpoint from now on; gives those that are made."""
    asked: list[str] = []

    async def fetched(url: str, *_: Any) -> Any:
        endpoint = url.partition("?")[0].rpartition("/")[2]
        asked.append(endpoint)
        answer = answers[endpoint]
        # As ccxt reads JSON: numbers stay as they are written.
        return json.loads(json.dumps(answer), parse_int=str, parse_float=str)

    exchange._line.client.fetch = fetched
    return asked


def recorded(answer: str, **also: Any) -> dict[str, Any]:
    """A recorded answer, and what is asked before anything else."""
    return {
        "AssetPairs": wire.RECORDED["AssetPairs"],
        "Time": {"error": [], "result": {"unixtime": int(time.time())}},
        answer.partition(",")[0]: wire.RECORDED[answer],
        **also,
    }


def line_to(url: str) -> Line:
    """A line of ours to a server."""
    return connect(kraken_traits(5.0), CASE.opening(url))

"""Ours, connected to Crypto.com or to a server that answers as it does; orders for it, and bodies that it once sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from node_agent.exchanges.cryptocom import TRAITS, CryptoCom
from node_agent.exchanges.line import Line
from node_agent.exchanges.through_ccxt import connect
from tests.cryptocom import wire
from tests.cryptocom.case import CASE
from tests.cryptocom.replay import Answers, Replay
from tests.cryptocom.venue import CryptoCom as Venue

RECORDED: Final = json.loads((Path(__file__).parent.parent / "data/ccxt-static/cryptocom.json").read_text())
an_order, at_market = CASE.order, CASE.at_market
INSTRUMENTS: Final = {"data": [wire.instrument(rules) for rules in Venue.listed.values()]}


def opened(url: str, *, symbol: str = CASE.symbol, interval: timedelta = CASE.interval, **changes: Any) -> CryptoCom:
    """An account of ours, with traits changed by name."""
    traits = replace(TRAITS, **changes)
    opening = replace(CASE.opening(url), symbol=symbol, interval=interval)
    return CryptoCom(connect(traits, opening), traits, symbol=symbol, interval=interval)


@asynccontextmanager
async def account(answers: Answers, **changes: Any) -> AsyncIterator[tuple[CryptoCom, Replay]]:
    """An account of ours on a server that answers so, and that server; rules of symbols are told anyway."""
    async with Replay({"public/get-instruments": lambda _: INSTRUMENTS, **answers}) as far:
        ours = opened(far.url, **changes)
        try:
            yield ours, far
        finally:
            await ours.close()


def line_to(url: str) -> Line:
    """A line of ours to a server."""
    return connect(TRAITS, CASE.opening(url))

"""Ours, connected to Polymarket's process, as a bench of both; and orders for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from node_agent.core.market import Conduct, OrderRequest, TimeInForce
from node_agent.exchanges.polymarket import polymarket_traits
from node_agent.exchanges.polymarket_account import Polymarket
from node_agent.exchanges.through_ccxt import connect
from tests.polymarket.case import CASE, KEY
from tests.venue.process import Placed, VenueProcess

SYMBOL = CASE.symbol
MINUTES_AGO = timedelta(minutes=5)
an_order, at_market = CASE.order, CASE.at_market


@dataclass
class Bench:
    """The exchange's process, and ours."""

    process: VenueProcess
    exchange: Polymarket

    def placed(self) -> list[Placed]:
        """Its orders, oldest first."""
        return self.process.placed()

    async def fills(self) -> dict[str, list[Any]]:
        """Fills of the last minutes by client order id."""
        told: dict[str, list[Any]] = {}
        for each in await self.exchange.fills_since(datetime.now(UTC) - MINUTES_AGO):
            told.setdefault(each.client_order_id, []).append(each)
        return told

    @asynccontextmanager
    async def another(self, **changes: Any) -> AsyncIterator[Polymarket]:
        """One that remembers nothing."""
        opened = opened_at(self.process, **changes)
        try:
            yield opened
        finally:
            await opened.close()


def opened_at(
    process: VenueProcess,
    *,
    key: Mapping[str, str] = KEY,
    symbol: str = SYMBOL,
    settles_within: timedelta | None = None,
) -> Polymarket:
    """An account of ours."""
    opening = replace(CASE.opening(process.url, key=key), symbol=symbol)
    traits = polymarket_traits(key["kind"])
    if settles_within is not None:
        traits = replace(traits, conduct=Conduct(settles_within=settles_within))
    return Polymarket(connect(traits, opening), traits, opening)


def at_once(**changes: Any) -> OrderRequest:
    """A buy that takes at its limit what there is at once."""
    return an_order(**{"price": Decimal("0.50"), "time_in_force": TimeInForce.IOC} | changes)


@asynccontextmanager
async def bench_of(process: VenueProcess, **changes: Any) -> AsyncIterator[Bench]:
    """The process as new, at a price that stands still, and ours with it."""
    process.reset()
    process.price("0.50")
    exchange = opened_at(process, **changes)
    try:
        yield Bench(process, exchange)
    finally:
        await exchange.close()


def bench_on(of: str, **changes: Any) -> Callable[..., Any]:
    """A fixture: a bench of the process `of` as new."""

    @pytest_asyncio.fixture
    async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
        async with bench_of(request.getfixturevalue(of), **changes) as made:
            yield made

    made: Callable[..., Any] = bench
    return made

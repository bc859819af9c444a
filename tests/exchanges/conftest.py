"""One exchange process for all tests here, as new for each; and ours, connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from node_agent.exchanges.spot import SpotExchange
from tests.binance.case import CASE
from tests.binance.process import BinanceProcess
from tests.exchanges.opening import opened
from tests.venue.fixtures import as_new, process_of

process = process_of(CASE, "session")
binance = as_new(CASE, "binance")


@pytest_asyncio.fixture
async def exchange(binance: BinanceProcess) -> AsyncIterator[SpotExchange]:
    ours = opened(binance, interval=timedelta(seconds=1))
    await ours.markets()
    yield ours
    await ours.close()

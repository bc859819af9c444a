"""One exchange process for all tests here, as new for each; and ours, connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio

from node_agent.exchanges.spot import SpotExchange
from tests.binance.process import BinanceProcess
from tests.exchanges.opening import opened


@pytest.fixture(scope="session")
def process() -> Iterator[BinanceProcess]:
    with BinanceProcess() as started:
        yield started


@pytest.fixture
def binance(process: BinanceProcess) -> BinanceProcess:
    process.reset()
    process.price("40000")
    return process


@pytest_asyncio.fixture
async def exchange(binance: BinanceProcess) -> AsyncIterator[SpotExchange]:
    ours = opened(binance, interval=timedelta(seconds=1))
    await ours.markets()
    yield ours
    await ours.close()

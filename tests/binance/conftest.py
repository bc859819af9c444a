"""One exchange for a file's tests, as new for each; and callers of it: hand-made requests, and ccxt itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import ccxt.async_support as ccxt  # type: ignore[import-untyped, unused-ignore]
import pytest
import pytest_asyncio

from tests.binance.caller import Caller
from tests.binance.process import BinanceProcess


@pytest.fixture(scope="module")
def process() -> Iterator[BinanceProcess]:
    with BinanceProcess("--symbol", "BTCUSDT", "--symbol", "ETHUSDT") as running:
        yield running


@pytest.fixture
def exchange(process: BinanceProcess) -> BinanceProcess:
    """New books, and a price that stands still."""
    process.reset()
    process.price("40000.00")
    return process


@pytest.fixture
def caller(exchange: BinanceProcess) -> Iterator[Caller]:
    with Caller(exchange) as ready:
        yield ready


@pytest_asyncio.fixture
async def client(exchange: BinanceProcess) -> AsyncIterator[Any]:
    options = {"fetchMarkets": ["spot"], "fetchCurrencies": False, "fetchMargins": False}
    made = ccxt.binance(
        {
            "apiKey": exchange.key,
            "secret": exchange.secret,
            "timeout": 5000,
            "enableRateLimit": False,
            "options": options,
        }
    )
    made.urls["api"] |= {
        "public": f"{exchange.url}/api/v3",
        "private": f"{exchange.url}/api/v3",
        "sapi": f"{exchange.url}/sapi/v1",
    }
    yield made
    await made.close()

"""One exchange for a file's tests, as new for each; and callers of it: hand-made requests, and ccxt itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import localcontext
from typing import Any

import ccxt.async_support as ccxt  # type: ignore[import-untyped, unused-ignore]
import pytest
import pytest_asyncio

from tests.binance.caller import Caller
from tests.binance.case import CASE
from tests.binance.process import BinanceProcess
from tests.venue.fixtures import as_new, caller_of, process_of

process = process_of(replace(CASE, options=("--symbol", "BTCUSDT", "--symbol", "ETHUSDT")))
exchange = as_new(CASE, "exchange")
caller = caller_of(Caller, "exchange")


@pytest.fixture
def rounding_of_its_own() -> Iterator[None]:
    """ccxt changes how the whole process rounds, and leaves it so: tests that come later would see it."""
    with localcontext():
        yield


@pytest_asyncio.fixture
async def client(exchange: BinanceProcess, rounding_of_its_own: None) -> AsyncIterator[Any]:
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

"""How ccxt is brought in: one exchange alone where that can be, the whole package else, and the same either way."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from node_agent.exchanges.binance import binance_traits, open_exchange
from node_agent.exchanges.catalogue import EXCHANGES
from node_agent.exchanges.through_ccxt import connect
from tests.exchanges.cases import case_of
from tests.exchanges.opening import an_opening
from tests.exchanges.stub import Stub

ROOT = Path(__file__).parent.parent.parent
ALONE = ""
WHOLE = "import ccxt.async_support"
BROKEN = """
from importlib import import_module
def broken(name):
    if name == "ccxt.async_support.binance" and "ccxt.async_support.kraken" not in sys.modules:
        raise ImportError("another layout")
    return import_module(name)
through_ccxt.importlib.import_module = broken
"""
PROGRAM = """
import asyncio, json, sys
from node_agent.exchanges import through_ccxt
{prepared}
exchange = through_ccxt.exchange_class("ccxt.async_support.binance")({{"apiKey": "k" * 64, "secret": "s" * 64}})
alone = "ccxt.async_support.kraken" not in sys.modules
exchange.nonce = lambda: 1700000000000
asked = {{"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.001", "newClientOrderId": "a" * 32}}
signed = [
    exchange.sign("order", api, method, dict(asked))
    for method in ("GET", "POST", "DELETE") for api in (["private"],)
]
import ccxt
print(json.dumps({{"alone": alone, "signed": signed, "version": ccxt.__version__, "all": len(ccxt.exchanges)}}))
"""


def run(program: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_both_ways_in_sign_to_the_same_bytes_and_leave_the_whole_package_to_others() -> None:
    alone, whole, broken = (run(PROGRAM.format(prepared=each)) for each in (ALONE, WHOLE, BROKEN))
    assert alone.pop("alone") is True
    assert whole.pop("alone") is False
    assert broken.pop("alone") is False
    assert alone == whole == broken
    assert "signature=" in alone["signed"][0]["url"]
    assert alone["all"] > 50


CLASSES = [f"ccxt.async_support.{name}" for name in ("binance", "coinbase", "cryptocom", "kraken", "okx")]


@pytest.mark.parametrize("path", [*CLASSES, "ccxt.prediction.polymarket"])
def test_each_exchange_comes_alone_and_is_the_one_of_the_whole_package(path: str) -> None:
    program = """
import json, sys
from node_agent.exchanges import through_ccxt
{prepared}
theirs = through_ccxt.exchange_class({path!r})
alone = "ccxt.async_support.bybit" not in sys.modules
name = f"{{theirs.__module__}}.{{theirs.__name__}}"
print(json.dumps({{"alone": alone, "class": name, "api": theirs().describe()["api"]}}))
"""
    alone, whole = (run(program.format(prepared=each, path=path)) for each in (ALONE, WHOLE))
    assert (alone.pop("alone"), whole.pop("alone")) == (True, False)
    assert alone == whole
    assert alone["class"] == f"{path}.{path.rpartition('.')[2]}"


def test_a_node_that_opens_no_exchange_imports_neither_ccxt_nor_aiohttp() -> None:
    program = "import json, sys, node_agent.exchanges.through_ccxt; print(json.dumps(sorted(sys.modules)))"
    assert not {"ccxt", "aiohttp"} & set(run(program))


@pytest.mark.parametrize("url", ["http://example.com:80", "http://10.0.0.1", "http://[2001:db8::1]/", "127.0.0.1:80"])
def test_an_address_that_is_not_on_loopback_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not on loopback"):
        open_exchange(an_opening(url))


@pytest.mark.asyncio
async def test_an_interval_without_candles_is_refused() -> None:
    with pytest.raises(ValueError, match="no candles"):
        open_exchange(an_opening("http://127.0.0.1:1", interval=timedelta(minutes=7)))


@pytest.mark.asyncio
async def test_every_address_moves_to_loopback_and_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Stub(200, '{"serverTime": 1}') as stub:
        line = connect(binance_traits(5.0), an_opening(stub.url))
        assert await line.ask(int, "fetch_time") == 1
        urls = line.client.urls["api"]
        await line.close()
    assert all(url.startswith(f"{stub.url}/") for url in urls.values())
    assert urls["private"] == f"{stub.url}/api/v3"


@pytest.mark.asyncio
async def test_the_real_addresses_are_binances_own() -> None:
    line = connect(binance_traits(5.0), an_opening(None))
    assert line.client.urls["api"]["private"] == "https://api.binance.com/api/v3"
    await line.close()


@pytest.mark.asyncio
async def test_ccxts_log_stays_above_what_shows_requests() -> None:
    logger = logging.getLogger("ccxt.base.exchange")
    logger.setLevel(logging.DEBUG)
    line = connect(binance_traits(5.0), an_opening(None))
    assert logger.level == logging.WARNING
    assert line.client.verbose is False
    await line.close()


IN_USE = """
import asyncio, json, sys
from datetime import timedelta
from decimal import Decimal
from pydantic import SecretStr
from node_agent.core.market import OrderRequest, OrderType, Side
from node_agent.exchanges.catalogue import open_exchange
from node_agent.exchanges.profile import Opening
name, symbol, price, amount, key, url = {given!r}
async def use():
    key_ = {{part: SecretStr(value) for part, value in key.items()}}
    exchange = open_exchange(name, Opening(key_, symbol, timedelta(minutes=1), url=url))
    await exchange.markets()
    wanted = OrderRequest("0" * 32, symbol, Side.BUY, OrderType.LIMIT, Decimal(amount), Decimal(price))
    order = await exchange.create_order(wanted)
    await exchange.cancel_order(order.client_order_id, symbol)
    await exchange.close()
asyncio.run(use())
print(json.dumps("ccxt" in sys.modules))
"""


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_exchange_in_use_does_not_bring_in_the_others_after_all(name: str) -> None:
    case = case_of(name)
    with case.start() as process:
        process.price(case.price)
        given = (case.name, case.symbol, case.below, case.amount, dict(case.key), process.url)
        assert run(IN_USE.format(given=given)) is False

"""Polymarket's key is custody of a wallet: which it takes, what it signs, and that nothing goes out but trading."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from decimal import localcontext
from uuid import uuid4

import pytest
from pydantic import SecretStr

from node_agent.exchange_keys import flaw
from node_agent.exchanges.guard import Forbidden
from node_agent.exchanges.polymarket import PROFILE, open_exchange
from node_agent.exchanges.polymarket_orders import free_fields
from node_agent.exchanges.port import ExchangeUnavailable, KeyRefused
from node_agent.exchanges.profile import KeyCheck, Opening
from tests.polymarket.case import CASE, KEY
from tests.polymarket.ours import Bench, bench_on
from tests.polymarket.venue import TOKEN
from tests.venue.fixtures import process_of

polymarket = process_of(CASE, name="polymarket")
bench = bench_on("polymarket")


def test_the_key_is_custody_and_is_tidied() -> None:
    assert PROFILE.key_check is KeyCheck.CUSTODY
    assert flaw(PROFILE, {**KEY, "key": f" 0x{KEY['key'].upper()}\n", "kind": "Safe "}) is None
    for part, wrong in (("key", KEY["key"][1:]), ("wallet", KEY["wallet"][2:]), ("kind", "magic")):
        assert flaw(PROFILE, {**KEY, part: wrong}) is not None
    tidied = {each.name: each.tidy(f"0x{KEY['key']}") for each in PROFILE.credentials if each.name == "key"}
    assert tidied == {"key": KEY["key"]}


@pytest.mark.asyncio
async def test_a_wallet_without_a_second_key_is_refused_and_none_is_made(bench: Bench) -> None:
    async with bench.another(key={**KEY, "key": CASE.wrong["key"]}) as stranger:
        with pytest.raises(KeyRefused, match="derive"):
            await stranger.balances()
        with pytest.raises(Forbidden):
            await stranger._keyed.client.create_api_key()
    requests = bench.process.books()["requests"]
    assert not [name for name in requests if name.startswith("POST")]
    assert requests["GET /auth/derive-api-key"] == 1


@pytest.mark.asyncio
async def test_a_second_key_that_was_taken_back_is_asked_for_again(bench: Bench) -> None:
    await bench.exchange.balances()
    bench.process.expire_key()
    with pytest.raises(KeyRefused):
        await bench.exchange.balances()
    bench.process.expire_key(expired=False)
    assert await bench.exchange.balances()
    assert bench.process.books()["requests"]["GET /auth/derive-api-key"] == 2


@pytest.mark.asyncio
async def test_a_clock_that_was_wrong_is_no_wrong_key(bench: Bench) -> None:
    await bench.exchange.balances()
    bench.exchange._line._measured_at = float("-inf")  # the clock is not measured twice within a second
    bench.process.clock(300)
    with pytest.raises(ExchangeUnavailable, match="off") as told:
        await bench.exchange.balances()
    assert not isinstance(told.value, KeyRefused)
    assert await bench.exchange.balances()


@pytest.mark.asyncio
async def test_nothing_goes_out_but_trading_with_nobodys_code_on_it(bench: Bench) -> None:
    await bench.exchange.balances()
    client = bench.exchange._keyed.client
    before = bench.process.books()["requests"]
    for name, arguments in (
        ("fetch_events", ({"query": "rain"},)),
        ("fetch_positions", ()),
        ("cancel_all_orders", ()),
        ("create_orders", ([],)),
        ("clobPrivateGetAuthApiKeys", ()),
        ("clobPrivateDeleteAuthApiKey", ()),
    ):
        with pytest.raises(Forbidden), localcontext():
            await getattr(client, name)(*arguments)
    salt, at = free_fields(uuid4().hex)
    params = {"salt": str(salt), "timestamp": str(at), "builder": "0xea409de8b037bb6ac664b6d12d6831b03cb04a37"}
    with pytest.raises(Forbidden, match=r"order\.builder"), localcontext():
        await client.create_order(TOKEN, "limit", "buy", "10", "0.40", params)
    assert bench.process.books()["requests"] == before


def test_a_symbol_is_an_outcome_and_its_quote() -> None:
    parts = {name: SecretStr(part) for name, part in KEY.items()}
    for symbol in ("BTC/USDC", f"{TOKEN}/USDT", f"{TOKEN}", f"{TOKEN}00/USDC"):
        with pytest.raises(ValueError, match="token id"):
            open_exchange(Opening(parts, symbol, timedelta(minutes=1), url="http://127.0.0.1:1"))


@pytest.mark.parametrize("before", ["", "import ccxt.async_support; "])
def test_it_is_loaded_alone_or_out_of_the_whole_package(before: str) -> None:
    program = (
        f"{before}import sys; from node_agent.exchanges.through_ccxt import exchange_class; "
        "made = exchange_class('ccxt.prediction.polymarket'); print(made.__module__, made().id, "
        "sum(name.startswith('ccxt.prediction.') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    module, name, loaded = done.stdout.split()
    assert (module, name) == ("ccxt.prediction.polymarket", "polymarket")
    assert (int(loaded) == 1) is not bool(before)

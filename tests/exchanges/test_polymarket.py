"""What is particular to Polymarket: orders known by their hash, what fills at once, kinds of wallets, and its words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr

from node_agent.core.market import (
    Conduct,
    ExchangeOrder,
    ExchangeStatus,
    Liquidity,
    Market,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from node_agent.exchange_keys import flaw
from node_agent.exchanges.guard import Forbidden
from node_agent.exchanges.polymarket import PROFILE, open_exchange, polymarket_traits
from node_agent.exchanges.polymarket_account import Polymarket
from node_agent.exchanges.polymarket_orders import (
    Fees,
    Ids,
    Outcome,
    Terms,
    candles_of,
    fills_of,
    free_fields,
    order_of,
    outcome_of,
    terms_of,
)
from node_agent.exchanges.port import ExchangeUnavailable, KeyRefused, OrderRefused, OutcomeUnknown
from node_agent.exchanges.profile import KeyCheck, Opening
from node_agent.exchanges.through_ccxt import connect
from node_agent.exchanges.traits import Meaning
from tests.polymarket import signing
from tests.polymarket.books import fee
from tests.polymarket.case import CASE, KEY
from tests.polymarket.test_polymarket import VECTOR, VECTOR_CHAIN, VECTOR_ID
from tests.polymarket.venue import FINE_TOKEN, TOKEN
from tests.venue.fixtures import process_of
from tests.venue.process import Placed, VenueProcess

SYMBOL = CASE.symbol
AT_ONCE = timedelta(0)
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
    opening = replace(CASE.opening(process.url, key=key), symbol=symbol)
    traits = polymarket_traits(key["kind"])
    if settles_within is not None:
        traits = replace(traits, conduct=Conduct(settles_within=settles_within))
    return Polymarket(connect(traits, opening), traits, opening)


def at_once(**changes: Any) -> OrderRequest:
    """A buy that takes at its limit what there is at once."""
    return an_order(**{"price": Decimal("0.50"), "time_in_force": TimeInForce.IOC} | changes)


polymarket = process_of(CASE, name="polymarket")
# One that tells nothing of an order that has ended.
forgetful = process_of(replace(CASE, key={**KEY, "forgets": "yes"}), name="forgetful")


@asynccontextmanager
async def bench_of(process: VenueProcess, **changes: Any) -> AsyncIterator[Bench]:
    process.reset()
    process.price("0.50")
    exchange = opened_at(process, **changes)
    try:
        yield Bench(process, exchange)
    finally:
        await exchange.close()


@pytest_asyncio.fixture
async def bench(polymarket: VenueProcess) -> AsyncIterator[Bench]:
    async with bench_of(polymarket) as made:
        yield made


@pytest_asyncio.fixture
async def oblivion(forgetful: VenueProcess) -> AsyncIterator[Bench]:
    async with bench_of(forgetful, settles_within=AT_ONCE) as made:
        yield made


# Ids.


def ids_of(chain: int, outcome: Outcome, **who: Any) -> Ids:
    contract = {
        "ctfExchangeName": "Polymarket CTF Exchange",
        "ctfExchangeVersion": "2",
        "chainId": chain,
        "exchangeAddress": signing.EXCHANGE,
        "negRiskExchangeAddress": signing.NEG_RISK_EXCHANGE,
    }
    return Ids(signing.keccak, contract, outcome=outcome, **who)


def an_outcome(token: str, *, neg_risk: bool = False) -> Outcome:
    return Outcome(token, "0x1", Decimal("0.01"), neg_risk, Fees())


def test_an_order_is_called_what_polymarkets_own_client_calls_it() -> None:
    ids = ids_of(VECTOR_CHAIN, an_outcome("1234"), maker=VECTOR["maker"], signer=VECTOR["signer"], kind=3)
    told = ids.hash(VECTOR["salt"], int(VECTOR["timestamp"]), Side.BUY, 100_000_000, 50_000_000)
    assert told == VECTOR_ID


def test_an_id_follows_from_ours_and_the_terms_and_from_nothing_else() -> None:
    who = {"maker": KEY["wallet"], "signer": KEY["wallet"], "kind": 3}
    ours, terms = uuid4().hex, Terms(Side.BUY, Decimal("0.4"), Decimal(10))
    told = ids_of(137, an_outcome(TOKEN), **who).of(ours, terms)
    assert ids_of(137, an_outcome(TOKEN), **who).of(ours, replace(terms, at=datetime.now(UTC))) == told
    others = {
        ids_of(137, an_outcome(TOKEN), **who).of(uuid4().hex, terms),
        *(
            ids_of(137, an_outcome(TOKEN), **who).of(ours, replace(terms, **change))
            for change in ({"side": Side.SELL}, {"price": Decimal("0.41")}, {"amount": Decimal("10.01")})
        ),
        ids_of(137, an_outcome(FINE_TOKEN), **who).of(ours, terms),
        ids_of(137, an_outcome(TOKEN, neg_risk=True), **who).of(ours, terms),
    }
    assert len(others | {told}) == 7
    with pytest.raises(ValueError, match="too fine"):
        ids_of(137, an_outcome(TOKEN), **who).of(ours, replace(terms, amount=Decimal("0.0000001")))


def test_salts_fit_into_a_double_and_signing_times_lie_in_the_past() -> None:
    told = [free_fields(uuid4().hex) for _ in range(500)]
    assert all(salt < 1 << 53 and 1_700_000_000_000 <= at < 1_765_000_000_000 for salt, at in told)
    assert len({salt for salt, _ in told}) == len({at for _, at in told}) == 500


@pytest.mark.asyncio
async def test_an_order_has_the_id_that_was_worked_out_before_it_was_sent(bench: Bench) -> None:
    request = an_order()
    bench.process.faults({"what": "drop_before", "method": "POST", "path": "/order"})
    with pytest.raises(OutcomeUnknown):
        await bench.exchange.create_order(request)
    assert await bench.exchange.find_order(request.client_order_id, SYMBOL) is None
    known = bench.exchange._exchange_ids[request.client_order_id]
    assert (await bench.exchange.create_order(request)).exchange_order_id == known
    assert bench.placed()[0].client_id == known


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["open", "cancelled", "filled"])
async def test_who_sends_it_again_without_memory_is_answered_with_the_first(bench: Bench, how: str) -> None:
    request = at_market() if how == "filled" else an_order()
    first = await bench.exchange.create_order(request)
    if how == "cancelled":
        await bench.exchange.cancel_order(request.client_order_id, SYMBOL)
    async with bench.another() as later:
        again = await later.create_order(request)
        assert again.exchange_order_id == first.exchange_order_id
        assert again.status.value == how
    assert len(bench.placed()) == 1
    assert sum(each.amount for each in (await bench.fills()).get(request.client_order_id, [])) in (0, 10)


@pytest.mark.asyncio
async def test_orders_of_somebody_else_stay_somebody_elses(bench: Bench) -> None:
    bench.process.foreign(symbol=TOKEN, side="BUY", type="LIMIT", quantity="10", price="0.40")
    bench.process.foreign(symbol=TOKEN, side="BUY", type="LIMIT", quantity="10", price="0.50")
    assert await bench.exchange.find_order(uuid4().hex, SYMBOL) is None
    assert set(await bench.fills()) == {""}
    (listed,) = await bench.exchange.open_orders()
    assert listed.order.client_order_id == ""


# An exchange that tells nothing of what has ended.


@pytest.mark.asyncio
async def test_an_order_that_is_told_of_no_more_is_known_by_its_trades(oblivion: Bench) -> None:
    filled, cancelled, cut = at_market(), an_order(), an_order(price=Decimal("0.50"))
    assert (await oblivion.exchange.create_order(filled)).status is ExchangeStatus.FILLED
    await oblivion.exchange.create_order(cancelled)
    assert (await oblivion.exchange.cancel_order(cancelled.client_order_id, SYMBOL)).status is ExchangeStatus.CANCELLED
    oblivion.process.price("0.50", depth="4")
    await oblivion.exchange.create_order(cut)
    ended = await oblivion.exchange.cancel_order(cut.client_order_id, SYMBOL)
    assert (ended.status, ended.amount, ended.filled) == (ExchangeStatus.CANCELLED, Decimal(10), Decimal(4))
    found = await oblivion.exchange.find_order(filled.client_order_id, SYMBOL)
    assert found is not None
    assert (found.status, found.filled, found.average_price) == (ExchangeStatus.FILLED, Decimal(10), Decimal("0.50"))


@pytest.mark.asyncio
async def test_what_filled_whole_is_found_without_memory_by_guessing_its_terms(oblivion: Bench) -> None:
    taken, rested = at_market(), an_order()
    await oblivion.exchange.create_order(taken)
    await oblivion.exchange.create_order(rested)
    for _ in range(2):
        oblivion.process.price("0.39")
    async with oblivion.another() as later:
        for request in (taken, rested):
            found = await later.find_order(request.client_order_id, SYMBOL)
            assert found is not None
            assert (found.filled, found.client_order_id) == (Decimal(10), request.client_order_id)
        fills = await later.fills_since(datetime.now(UTC) - MINUTES_AGO)
        assert {each.client_order_id for each in fills} == {taken.client_order_id, rested.client_order_id}


@pytest.mark.asyncio
async def test_what_ended_without_a_trade_is_known_again_when_it_is_sent_again(oblivion: Bench) -> None:
    request = an_order()
    await oblivion.exchange.create_order(request)
    await oblivion.exchange.cancel_order(request.client_order_id, SYMBOL)
    async with oblivion.another(settles_within=AT_ONCE) as later:
        assert await later.find_order(request.client_order_id, SYMBOL) is None
        assert (await later.create_order(request)).status is ExchangeStatus.CANCELLED
    assert len(oblivion.placed()) == 1


@pytest.mark.asyncio
async def test_an_order_from_before_that_is_told_of_no_more_has_ended(oblivion: Bench) -> None:
    request = an_order()
    placed = await oblivion.exchange.create_order(request)
    oblivion.process.cancel(oblivion.placed()[0].id)
    async with oblivion.another(settles_within=AT_ONCE) as later:
        later.know([(request.client_order_id, placed.exchange_order_id)])
        found = await later.find_order(request.client_order_id, SYMBOL)
        assert found is not None
        assert (found.status, found.filled) == (ExchangeStatus.CANCELLED, Decimal(0))


@pytest.mark.asyncio
async def test_an_order_that_is_not_told_of_yet_is_open_for_a_while(forgetful: VenueProcess) -> None:
    async with bench_of(forgetful) as bench:
        request = an_order()
        await bench.exchange.create_order(request)
        bench.process.cancel(bench.placed()[0].id)
        found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
        assert found is not None
        assert found.status is ExchangeStatus.OPEN


@pytest.mark.asyncio
async def test_an_order_that_is_held_back_is_open_until_it_is_told_of() -> None:
    with VenueProcess.of("polymarket", {**KEY, "delays": "3"}) as process:
        async with bench_of(process) as bench:
            request = at_market()
            assert (await bench.exchange.create_order(request)).status is ExchangeStatus.OPEN
            assert bench.placed() == []
            found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
            assert found is not None
            assert (found.status, found.filled) == (ExchangeStatus.OPEN, Decimal(0))
            process.clock(4)
            found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
            assert found is not None
            assert (found.status, found.filled) == (ExchangeStatus.FILLED, Decimal(10))


# At once.


@pytest.mark.asyncio
async def test_a_buy_at_market_gets_what_was_asked_for_at_the_best_price(bench: Bench) -> None:
    order = await bench.exchange.create_order(at_market(amount=Decimal("12.34")))
    assert (order.status, order.filled, order.average_price) == (
        ExchangeStatus.FILLED,
        Decimal("12.34"),
        Decimal("0.50"),
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("amount", ["10", "10.01"])
async def test_what_a_buy_at_once_cannot_get_at_once_is_cancelled(bench: Bench, amount: str) -> None:
    bench.process.price("0.50", depth="6")
    order = await bench.exchange.create_order(at_once(amount=Decimal(amount)))
    assert (order.status, order.filled) == (ExchangeStatus.CANCELLED, Decimal(6))
    with pytest.raises(OrderRefused, match="no more than 6"):  # its rest would bid 0.99 until it is gone
        await bench.exchange.create_order(at_market(amount=Decimal(amount)))
    missed = await bench.exchange.create_order(an_order(time_in_force=TimeInForce.IOC))
    assert (missed.status, missed.filled) == (ExchangeStatus.CANCELLED, Decimal(0))
    assert await bench.exchange.open_orders() == []


@pytest.mark.asyncio
async def test_the_rest_of_a_buy_at_once_expires_where_it_could_not_be_cancelled(bench: Bench) -> None:
    await bench.exchange.markets()
    bench.process.price("0.50", depth="6")
    bench.process.faults({"what": "5xx_before", "method": "DELETE", "path": "/order"})
    request = at_once()
    order = await bench.exchange.create_order(request)
    assert (order.status, order.filled) == (ExchangeStatus.OPEN, Decimal(6))
    bench.process.clock(250)
    async with bench.another() as later:
        found = await later.find_order(request.client_order_id, SYMBOL)
        assert found is not None
        assert (found.status, found.filled) == (ExchangeStatus.CANCELLED, Decimal(6))


@pytest.mark.asyncio
async def test_a_sell_at_once_may_be_small_and_is_refused_where_nobody_buys(bench: Bench) -> None:
    sold = at_market(side=Side.SELL, amount=Decimal("2.37"))
    await bench.exchange.create_order(sold)
    found = await bench.exchange.find_order(sold.client_order_id, SYMBOL)
    assert found is not None
    assert (found.status, found.filled, found.average_price) == (
        ExchangeStatus.FILLED,
        Decimal("2.37"),
        Decimal("0.50"),
    )
    bench.process.price("0.50", depth="0")
    with pytest.raises(OrderRefused, match="FAK"):
        await bench.exchange.create_order(at_market(side=Side.SELL, amount=Decimal(3)))
    assert await bench.exchange.open_orders() == []


# Rules, wallets, money.


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["eoa", "proxy", "safe", "deposit"])
async def test_every_kind_of_wallet_trades_on_both_contracts(kind: str) -> None:
    key = {**KEY, "kind": kind}
    if kind == "eoa":
        key["wallet"] = signing.own_address(key["key"])
    with VenueProcess.of("polymarket", key) as process:
        for token, price in ((TOKEN, "0.40"), (FINE_TOKEN, "0.405")):
            exchange = opened_at(process, key=key, symbol=f"{token}/USDC")
            try:
                request = an_order(symbol=f"{token}/USDC", price=Decimal(price))
                placed = await exchange.create_order(request)
                assert placed.exchange_order_id == exchange._exchange_ids[request.client_order_id]
                assert (await exchange.balances())["USDC"] == 1000
                ended = await exchange.cancel_order(request.client_order_id, request.symbol)
                assert ended.status is ExchangeStatus.CANCELLED
            finally:
                await exchange.close()


@pytest.mark.asyncio
async def test_the_rules_of_an_outcome_are_its_questions(bench: Bench) -> None:
    assert await bench.exchange.markets() == {
        SYMBOL: Market(SYMBOL, TOKEN, "USDC", Decimal("0.01"), Decimal("0.01"), Decimal(0))
    }
    async with bench.another(symbol=f"{FINE_TOKEN}/USDC") as fine:
        assert (await fine.markets())[f"{FINE_TOKEN}/USDC"].tick_size == Decimal("0.001")
    async with bench.another(symbol="123/USDC") as unknown:
        with pytest.raises(ExchangeUnavailable, match="no market"):
            await unknown.markets()


@pytest.mark.asyncio
async def test_what_breaks_the_rules_is_refused_by_the_exchange_or_not_sent_at_all(bench: Bench) -> None:
    for changes, words in (
        ({"price": Decimal("0.405")}, "tick size"),
        ({"amount": Decimal(4)}, "lower than the minimum"),
        ({"amount": Decimal(5), "price": None, "type": OrderType.MARKET, "side": Side.SELL}, None),
    ):
        if words is None:
            await bench.exchange.create_order(an_order(**changes))
            continue
        with pytest.raises(OrderRefused, match=words):
            await bench.exchange.create_order(an_order(**changes))
    before = bench.process.books()["requests"]["POST /order"]
    for changes in (
        {"price": Decimal("0.40005")},
        {"price": Decimal(1)},
        {"price": Decimal(0)},
        {"amount": Decimal("10.001")},
    ):
        with pytest.raises(OrderRefused, match="not sent"):
            await bench.exchange.create_order(an_order(**changes))
    assert bench.process.books()["requests"]["POST /order"] == before


@pytest.mark.asyncio
async def test_takers_pay_in_the_quote_and_makers_nothing(bench: Bench) -> None:
    taken, rested = at_market(), an_order()
    await bench.exchange.create_order(taken)
    await bench.exchange.create_order(rested)
    for _ in range(2):
        bench.process.price("0.39")
    fills = await bench.fills()
    taker, maker = fills[taken.client_order_id], fills[rested.client_order_id]
    assert {each.liquidity for each in taker} == {Liquidity.TAKER}
    assert {(each.liquidity, each.fee) for each in maker} == {(Liquidity.MAKER, Decimal(0))}
    assert {each.fee_currency for each in taker + maker} == {"USDC"}
    assert {each.side for each in taker + maker} == {Side.BUY}
    assert {each.price for each in maker} == {Decimal("0.40")}
    assert all(each.fee == fee(each.price, each.amount, maker=False) > 0 for each in taker)
    held = await bench.exchange.balances()
    paid = sum((each.price * each.amount + each.fee for each in taker + maker), Decimal(0))
    assert held == {"USDC": 1000 - paid, TOKEN: Decimal(220)}


@pytest.mark.asyncio
async def test_lists_are_read_to_their_end() -> None:
    with VenueProcess.of("polymarket", {**KEY, "page": "2"}) as process:
        async with bench_of(process) as bench:
            resting = [an_order() for _ in range(5)]
            taken = [at_market() for _ in range(3)]
            for request in (*resting, *taken):
                await bench.exchange.create_order(request)
            listed = {each.order.client_order_id for each in await bench.exchange.open_orders()}
            assert listed == {each.client_order_id for each in resting}
            fills = await bench.fills()
            assert {name: sum(each.amount for each in told) for name, told in fills.items()} == {
                each.client_order_id: Decimal(10) for each in taken
            }


@pytest.mark.asyncio
async def test_candles_are_made_of_samples(bench: Bench) -> None:
    bench.process.walk()
    since = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=30)
    candles = await bench.exchange.candles(since)
    assert [each.at for each in candles][:3] == [since + timedelta(minutes=number) for number in range(3)]
    assert 30 <= len(candles) <= 31
    assert all(each.open == each.close and each.volume == 0 for each in candles)
    assert len(await bench.exchange.candles(None)) == 3


# The key.


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


# Its words.


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (400, {"error": "order 0x12 is invalid. Duplicated."}, Meaning.DUPLICATE),
        (400, {"error": "not enough balance / allowance: the balance is not enough"}, Meaning.REFUSED),
        (400, {"error": "order 0x12 is invalid. Price (0.505) breaks minimum tick size rule: 0.01"}, Meaning.REFUSED),
        (400, {"error": "order 0x12 is invalid. Size (1) lower than the minimum: 5"}, Meaning.REFUSED),
        (400, {"error": "invalid amount for a marketable BUY order ($0.84), min size: $1"}, Meaning.REFUSED),
        (
            400,
            {"error": "invalid amounts, the market buy orders maker amount supports a max accuracy of 2 decimals"},
            None,
        ),
        (400, {"error": "the market is not yet ready to process new orders"}, Meaning.REFUSED),
        (400, {"error": "order_version_mismatch"}, Meaning.REFUSED),
        (400, {"error": "'0x12' address in closed only mode"}, Meaning.REFUSED),
        (400, {"error": "invalid signature"}, Meaning.KEY),
        (400, {"error": "the order signer address has to be the address of the API KEY"}, Meaning.KEY),
        (403, {"error": "Trading restricted in your region, please refer to available regions"}, Meaning.KEY),
        (400, {"error": "Could not derive api key!"}, Meaning.KEY),
        (404, {"error": "order not found"}, Meaning.NO_SUCH_ORDER),
        (200, {"success": False, "errorMsg": "not enough balance / allowance", "orderID": ""}, Meaning.REFUSED),
    ],
)
def test_errors_are_known_by_their_words(status: int, body: dict[str, Any], meaning: Meaning | None) -> None:
    traits = polymarket_traits("eoa")
    told = traits.error_of(status, body)
    assert told is not None
    assert traits.meanings.get(told[0]) is (meaning or Meaning.REFUSED)
    assert told[1] == body.get("error", body.get("errorMsg"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "could not insert order"}),
        (400, {"error": "the trade contains rounding issues"}),
        (425, {"error": "service not ready"}),
        (200, {"success": False, "errorMsg": "", "status": "unmatched", "orderID": "0x12"}),
        (500, None),
    ],
)
def test_what_is_not_known_may_have_been_carried_out(status: int, body: Any) -> None:
    traits = polymarket_traits("eoa")
    told = traits.error_of(status, body)
    assert told is not None
    assert told[0] not in traits.meanings


@pytest.mark.parametrize(
    "body", [[], {"data": []}, {"success": True, "errorMsg": "", "orderID": "0x12"}, {"balance": "1"}]
)
def test_an_answer_is_no_error(body: Any) -> None:
    assert polymarket_traits("eoa").error_of(200, body) is None


# Its rows, as its documentation and its own clients show them.

ROW: dict[str, Any] = {
    "id": "0xff354cd7ca7539dfa9c28d90943ab5779a4eac34b9b37a757d7b32bdfb11790b",
    "status": "LIVE",
    "owner": "9180014b-33c8-9240-a14b-bdca11c0a465",
    "maker_address": "0x1234567890123456789012345678901234567890",
    "market": "0x747dc809fb79e1b05be09c42d6179459a58de2ef3e40f02484a4e1260f741f75",
    "asset_id": TOKEN,
    "side": "BUY",
    "original_size": "10",
    "size_matched": "0",
    "price": "0.52",
    "outcome": "Yes",
    "expiration": "0",
    "order_type": "GTC",
    "associate_trades": [],
    "created_at": 1700000000,
}


@pytest.mark.parametrize(
    ("status", "matched", "becomes"),
    [
        ("LIVE", "2.5", ExchangeStatus.OPEN),
        ("ORDER_STATUS_LIVE", "0", ExchangeStatus.OPEN),
        ("MATCHED", "10", ExchangeStatus.FILLED),
        ("ORDER_STATUS_MATCHED", "9.995", ExchangeStatus.FILLED),
        ("MATCHED", "4", ExchangeStatus.CANCELLED),
        ("CANCELED", "0", ExchangeStatus.CANCELLED),
        ("ORDER_STATUS_CANCELED_MARKET_RESOLVED", "1", ExchangeStatus.CANCELLED),
        ("INVALID", "0", ExchangeStatus.CANCELLED),
    ],
)
def test_statuses_are_read_in_both_spellings(status: str, matched: str, becomes: ExchangeStatus) -> None:
    order = order_of({**ROW, "status": status, "size_matched": matched}, SYMBOL, "ours")
    assert order == ExchangeOrder("ours", ROW["id"], SYMBOL, becomes, Decimal(10), Decimal(matched))


def test_a_row_that_cannot_be_read_is_no_order() -> None:
    for change in ({"status": "MAYBE"}, {"original_size": 0.1}, {"size_matched": "NaN"}, {"original_size": "x"}):
        with pytest.raises(ValueError, match=r"status|amount"):
            order_of({**ROW, **change}, SYMBOL, "")


@pytest.mark.parametrize("told", [1700000000, "1700000000", "1700000000000", "2023-11-14T22:13:20Z"])
def test_times_are_read_in_each_spelling(told: Any) -> None:
    terms = terms_of({**ROW, "created_at": told})
    assert terms == Terms(Side.BUY, Decimal("0.52"), Decimal(10), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))


def test_a_trade_of_the_other_answer_fills_our_maker_orders_in_our_price() -> None:
    ours = {
        "asset_id": TOKEN,
        "maker_address": KEY["wallet"].lower(),
        "side": "BUY",
        "price": "0.4",
        "fee_rate_bps": "",
    }
    trade = {
        "id": "28c4d2eb-bbea-40e7-a9f0-b2fdb56b2c2e",
        "taker_order_id": "0x06bc63e346ed4ceddce9efd6b3af37c8f8f440c92fe7da6b2d0f9e4ccbc50c42",
        "asset_id": "12345",
        "side": "BUY",
        "size": "15",
        "price": "0.6",
        "status": "MINED",
        "match_time": "1672290701",
        "trader_side": "MAKER",
        "maker_orders": [
            {**ours, "order_id": "0xaaaaaaaa01", "matched_amount": "10"},
            {**ours, "order_id": "0xbbbbbbbb02", "matched_amount": "3"},
            {**ours, "order_id": "0xcccccccc03", "matched_amount": "2", "maker_address": "0x" + "1" * 40},
        ],
    }
    outcome = Outcome(TOKEN, "0x1", Decimal("0.01"), False, Fees(Decimal("0.05")))
    fills = list(fills_of(trade, SYMBOL, KEY["wallet"].lower(), outcome))
    assert [(each["order"], each["amount"], each["price"], each["side"]) for each in fills] == [
        ("0xaaaaaaaa01", "10", "0.4", "buy"),
        ("0xbbbbbbbb02", "3", "0.4", "buy"),
    ]
    assert len({each["id"] for each in fills}) == 2
    assert list(fills_of({**trade, "status": "FAILED"}, SYMBOL, KEY["wallet"].lower(), outcome)) == []
    assert list(fills_of({**trade, "trader_side": "TAKER"}, SYMBOL, "0x0", outcome)) == []


@pytest.mark.parametrize(
    ("told", "fees"),
    [
        (
            {"feesEnabled": True, "feeSchedule": {"exponent": 1, "rate": "0.04", "takerOnly": True}},
            Fees(Decimal("0.04")),
        ),
        ({"feesEnabled": False, "feeSchedule": {"exponent": 1, "rate": "0.04", "takerOnly": True}}, Fees()),
        ({"feesEnabled": True, "feeSchedule": None}, Fees()),
        ({}, Fees()),
        (
            {"feeSchedule": {"exponent": 2, "rate": "0.25", "takerOnly": False}},
            Fees(Decimal("0.25"), Decimal(2), makers_too=True),
        ),
    ],
)
def test_fees_are_the_questions(told: dict[str, Any], fees: Fees) -> None:
    question = {"conditionId": "0x1", "orderPriceMinTickSize": "0.01", "negRisk": False, **told}
    assert outcome_of(question, TOKEN).fees == fees


def test_a_fee_is_highest_where_nobody_knows_the_answer() -> None:
    fees = Fees(Decimal("0.05"))
    assert fees.of(Decimal("0.5"), Decimal(100), maker=False) == Decimal("1.25")
    assert fees.of(Decimal("0.99"), Decimal(100), maker=False) == Decimal("0.0495")
    assert fees.of(Decimal("0.5"), Decimal(100), maker=True) == 0


def test_samples_of_one_interval_make_one_candle() -> None:
    opened = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = int(opened.timestamp())
    history = [
        {"t": seconds - 10, "p": "0.1"},
        {"t": seconds + 70, "p": "0.6"},
        {"t": seconds + 10, "p": "0.5"},
        {"t": seconds + 40, "p": "0.45"},
        {"t": seconds + 55, "p": "0.55"},
    ]
    first, second = candles_of(history, SYMBOL, timedelta(minutes=1), opened)
    assert (first.at, first.open, first.high, first.low, first.close) == (
        opened,
        *(Decimal(price) for price in ("0.5", "0.55", "0.45", "0.55")),
    )
    assert (second.at, second.open) == (opened + timedelta(minutes=1), Decimal("0.6"))


def test_a_trade_that_failed_on_the_chain_is_none_in_either_spelling() -> None:
    outcome = Outcome(TOKEN, "0x1", Decimal("0.01"), False, Fees())
    for status in ("FAILED", "TRADE_STATUS_FAILED"):
        trade: dict[str, Any] = {
            "id": "t",
            "taker_order_id": "0xaa",
            "asset_id": TOKEN,
            "side": "BUY",
            "size": "15",
            "price": "0.6",
            "status": status,
            "match_time": "1672290701",
            "trader_side": "TAKER",
            "maker_orders": [],
        }
        assert list(fills_of(trade, SYMBOL, KEY["wallet"].lower(), outcome)) == []


@pytest.mark.asyncio
async def test_a_question_of_the_second_protocol_is_not_taken_for_one_of_the_first(bench: Bench) -> None:
    line, asked = bench.exchange._line, bench.exchange._line.ask

    async def ask(read: Any, method: str, *arguments: Any, **how: Any) -> Any:
        rows: Any = await asked(read, method, *arguments, **how)
        return [{**each, "version": "v2"} for each in rows] if method == "gammaPublicGetMarkets" else rows

    line.ask = ask  # type: ignore[method-assign]
    with pytest.raises(ExchangeUnavailable, match="second protocol"):
        await bench.exchange.create_order(an_order())


@pytest.mark.asyncio
async def test_the_rest_of_a_delayed_buy_at_once_does_not_stay_on_the_book() -> None:
    with VenueProcess.of("polymarket", {**KEY, "delays": "3"}) as process:
        async with bench_of(process) as bench:
            process.price("0.50", depth="4")
            request = at_once()
            assert (await bench.exchange.create_order(request)).status is ExchangeStatus.OPEN
            process.clock(4)
            found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
            assert found is not None
            assert found.status is not ExchangeStatus.OPEN


@pytest.mark.asyncio
@pytest.mark.parametrize("seen", ["sent again", "looked for", "listed", "looked for by a later process"])
async def test_the_rest_of_a_buy_at_once_whose_answer_was_lost_does_not_stay_on_the_book(
    bench: Bench, seen: str
) -> None:
    await bench.exchange.markets()
    bench.process.price("0.50", depth="4")
    bench.process.faults({"what": "drop_after", "method": "POST", "path": "/order"})
    request = at_once()
    with pytest.raises(OutcomeUnknown):
        await bench.exchange.create_order(request)
    async with bench.another() as later:
        match seen:
            case "sent again":
                await bench.exchange.create_order(request)
            case "looked for":
                await bench.exchange.find_order(request.client_order_id, SYMBOL)
            case "listed":
                assert await bench.exchange.open_orders() == []
            case _:
                await later.find_order(request.client_order_id, SYMBOL)
        assert await later.open_orders() == []
    found = await bench.exchange.find_order(request.client_order_id, SYMBOL)
    assert found is not None
    assert found.status is ExchangeStatus.CANCELLED

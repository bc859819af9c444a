"""What is particular to Polymarket: what fills at once, kinds of wallets, the rules of an outcome, and its money."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from node_agent.core.market import ExchangeStatus, Liquidity, Market, OrderType, Side, TimeInForce
from node_agent.exchanges.polymarket import open_exchange
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused, OutcomeUnknown
from tests.polymarket import signing
from tests.polymarket.books import fee
from tests.polymarket.case import CASE, KEY
from tests.polymarket.ours import SYMBOL, Bench, an_order, at_market, at_once, bench_of, bench_on, opened_at
from tests.polymarket.venue import FINE_TOKEN, TOKEN
from tests.venue.fixtures import process_of
from tests.venue.process import VenueProcess

# Its price moves seldom: nobody takes what rests here while a test looks at it.
polymarket = process_of(replace(CASE, options=("--interval", "1h")), name="polymarket")
bench = bench_on("polymarket")


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
async def test_a_wallet_that_is_not_its_keys_own_address_is_no_eoa() -> None:
    own = signing.own_address(KEY["key"])
    with pytest.raises(ValueError, match=f"kind eoa is the private key's own address, {own.lower()}"):
        open_exchange(CASE.opening("http://127.0.0.1:9", key={**KEY, "kind": "eoa"}))
    for kind, wallet in (("eoa", own), ("eoa", own.lower()), ("safe", KEY["wallet"])):
        opened = open_exchange(CASE.opening("http://127.0.0.1:9", key={**KEY, "kind": kind, "wallet": wallet}))
        await opened.close()


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

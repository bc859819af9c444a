"""Orders and cancels: each goes out once, exactly as it was asked, and its outcome is never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, getcontext
from typing import Any

import pytest

from node_agent.core.market import ExchangeStatus, OrderRequest, OrderType, Side, TimeInForce
from node_agent.exchanges.binance import binance_traits
from node_agent.exchanges.port import (
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    RateLimited,
)
from node_agent.exchanges.spot import SpotExchange
from node_agent.exchanges.traits import Pace
from node_protocol.encoding import parse_time
from tests.binance.process import BinanceProcess
from tests.exchanges.opening import SYMBOL, an_order, at_market, opened

pytestmark = pytest.mark.asyncio

ORDER = "/api/v3/order"
PLACED, CANCELLED, SOUGHT = f"POST {ORDER}", f"DELETE {ORDER}", f"GET {ORDER}"


async def until(moment: datetime) -> None:
    """Until then, and a little for clocks that do not agree."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later((moment - datetime.now(UTC)).total_seconds() + 0.05, passed.set)
    await passed.wait()


def orders_of(binance: BinanceProcess) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = binance.books()["orders"]
    return orders


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (an_order(), {"type": "LIMIT", "timeInForce": "GTC", "price": "30000.00000000"}),
        (an_order(time_in_force=TimeInForce.IOC, price=Decimal(50_000)), {"type": "LIMIT", "timeInForce": "IOC"}),
        (at_market(), {"type": "MARKET", "price": "0.00000000"}),
        (at_market(side=Side.SELL), {"type": "MARKET", "side": "SELL"}),
        (
            an_order(type=OrderType.STOP, side=Side.SELL, price=None, stop_price=Decimal("39000.50")),
            {"type": "STOP_LOSS", "stopPrice": "39000.50000000", "price": "0.00000000"},
        ),
        (
            an_order(type=OrderType.STOP, price=None, stop_price=Decimal("41000")),
            {"type": "STOP_LOSS", "side": "BUY", "stopPrice": "41000.00000000"},
        ),
    ],
)
async def test_each_kind_of_order_arrives_as_it_was_asked(
    exchange: SpotExchange, binance: BinanceProcess, request_: OrderRequest, sent: dict[str, str]
) -> None:
    told = await exchange.create_order(request_)
    (order,) = orders_of(binance)
    expected = {"clientOrderId": request_.client_order_id, "origQty": "0.01000000", "side": request_.side.upper()}
    assert order | expected | sent == order
    assert (told.client_order_id, told.exchange_order_id) == (request_.client_order_id, str(order["orderId"]))
    assert told.amount == Decimal("0.01")


@pytest.mark.parametrize("amount", ["0.00041", "0.12345", "1E-3", "0.10000000000", "2"])
async def test_amounts_go_out_as_they_are_and_no_rounding_changes(
    exchange: SpotExchange, binance: BinanceProcess, amount: str
) -> None:
    getcontext().clear_flags()
    before = repr(getcontext())
    told = await exchange.create_order(an_order(amount=Decimal(amount), price=Decimal("12345.67"), side=Side.BUY))
    assert told.amount == Decimal(amount)
    (order,) = orders_of(binance)
    assert (Decimal(order["origQty"]), Decimal(order["price"])) == (Decimal(amount), Decimal("12345.67"))
    assert repr(getcontext()) == before == repr(Context(flags=[]))


@pytest.mark.parametrize(("price", "amount"), [("30000.001", "0.01"), ("30000", "0.0100001"), ("30000", "0")])
async def test_what_is_not_in_the_markets_steps_is_not_bent_but_refused(
    exchange: SpotExchange, binance: BinanceProcess, price: str, amount: str
) -> None:
    with pytest.raises(OrderRefused):
        await exchange.create_order(an_order(price=Decimal(price), amount=Decimal(amount)))
    assert orders_of(binance) == []
    assert binance.books()["requests"][PLACED] == 1


async def test_an_answer_tells_status_fill_and_average_price(exchange: SpotExchange, binance: BinanceProcess) -> None:
    binance.price("40000", depth="0.004")
    limit = await exchange.create_order(an_order(price=Decimal(41_000)))
    assert (limit.status, limit.filled, limit.average_price) == (ExchangeStatus.OPEN, Decimal("0.004"), Decimal(40_000))
    market = await exchange.create_order(at_market())
    assert (market.status, market.filled) == (ExchangeStatus.EXPIRED, Decimal("0.004"))
    resting = await exchange.create_order(an_order(price=Decimal(30_000)))
    assert (resting.status, resting.filled, resting.average_price) == (ExchangeStatus.OPEN, Decimal(0), None)


async def test_a_definite_no_is_a_refusal(exchange: SpotExchange, binance: BinanceProcess) -> None:
    with pytest.raises(OrderRefused, match="insufficient balance"):
        await exchange.create_order(at_market(amount=Decimal(50)))
    with pytest.raises(OrderRefused, match="NOTIONAL"):
        await exchange.create_order(at_market(amount=Decimal("0.00001")))
    assert orders_of(binance) == []


async def test_an_id_that_the_exchange_has_answers_with_its_order(
    exchange: SpotExchange, binance: BinanceProcess
) -> None:
    request = an_order()
    first = await exchange.create_order(request)
    assert await exchange.create_order(request) == first
    assert len(orders_of(binance)) == 1


async def test_an_id_that_the_exchange_has_but_does_not_find_is_unknown(
    exchange: SpotExchange, binance: BinanceProcess
) -> None:
    request = an_order()
    await exchange.create_order(request)
    binance.faults({"what": "5xx_before", "method": "GET", "path": ORDER})
    with pytest.raises(OutcomeUnknown):
        await exchange.create_order(request)


@pytest.mark.parametrize("what", ["drop_before", "drop_after", "5xx_before", "5xx_after", "garbage"])
async def test_an_order_whose_answer_is_lost_is_unknown_and_sent_once(
    exchange: SpotExchange, binance: BinanceProcess, what: str
) -> None:
    binance.faults({"what": what, "method": "POST"})
    request = an_order()
    with pytest.raises(OutcomeUnknown):
        await exchange.create_order(request)
    books = binance.books()
    assert books["requests"][PLACED] == 1
    found = await exchange.find_order(request.client_order_id, SYMBOL)
    assert (found is not None) == (what in {"drop_after", "5xx_after", "garbage"}) == bool(books["orders"])


@pytest.mark.parametrize("what", ["drop_before", "drop_after", "5xx_after", "garbage"])
async def test_a_cancel_whose_answer_is_lost_is_unknown_and_sent_once(
    exchange: SpotExchange, binance: BinanceProcess, what: str
) -> None:
    request = an_order()
    await exchange.create_order(request)
    binance.faults({"what": what, "method": "DELETE"})
    with pytest.raises(OutcomeUnknown):
        await exchange.cancel_order(request.client_order_id, SYMBOL)
    assert binance.books()["requests"][CANCELLED] == 1


@pytest.mark.parametrize("what", ["hang_before", "hang_after", "answer_late"])
async def test_an_answer_that_does_not_come_in_time_is_unknown(binance: BinanceProcess, what: str) -> None:
    ours = opened(binance, pace=Pace(timeout=0.3))
    await ours.open_orders()
    binance.faults({"what": what, "method": "POST", "seconds": 1.0})
    with pytest.raises(OutcomeUnknown, match="in time"):
        await ours.create_order(an_order())
    await ours.close()


async def test_an_order_that_is_given_up_while_it_is_under_way_can_be_found(
    exchange: SpotExchange, binance: BinanceProcess
) -> None:
    binance.faults({"what": "answer_late", "method": "POST", "seconds": 5.0})
    request = an_order()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await exchange.create_order(request)
    assert await exchange.find_order(request.client_order_id, SYMBOL) is not None


@pytest.mark.parametrize("what", ["drop_before", "drop_after"])
async def test_a_read_whose_connection_is_lost_is_repeated_once(
    exchange: SpotExchange, binance: BinanceProcess, what: str
) -> None:
    placed = await exchange.create_order(an_order())
    binance.faults({"what": what, "method": "GET", "path": ORDER})
    assert await exchange.find_order(placed.client_order_id, SYMBOL) == placed
    assert binance.books()["requests"][SOUGHT] == 2
    binance.faults({"what": what, "method": "GET", "path": ORDER, "times": 2})
    with pytest.raises(ExchangeUnavailable):
        await exchange.find_order(placed.client_order_id, SYMBOL)


async def test_a_cancel_answers_under_our_id_with_how_it_ended(exchange: SpotExchange) -> None:
    request = an_order()
    placed = await exchange.create_order(request)
    cancelled = await exchange.cancel_order(request.client_order_id, SYMBOL)
    assert cancelled == replace(placed, status=ExchangeStatus.CANCELLED)


@pytest.mark.parametrize(
    ("request_", "status"),
    [(at_market(), ExchangeStatus.FILLED), (an_order(time_in_force=TimeInForce.IOC), ExchangeStatus.EXPIRED)],
)
async def test_a_cancel_of_an_order_that_has_ended_answers_with_how(
    exchange: SpotExchange, request_: OrderRequest, status: ExchangeStatus
) -> None:
    placed = await exchange.create_order(request_)
    assert placed.status is status
    assert await exchange.cancel_order(request_.client_order_id, SYMBOL) == placed


async def test_a_cancel_of_an_order_that_never_was_is_refused(exchange: SpotExchange) -> None:
    with pytest.raises(OrderRefused, match="Unknown order"):
        await exchange.cancel_order(an_order().client_order_id, SYMBOL)


async def test_a_cancel_that_is_refused_while_its_order_is_open_stays_refused(
    exchange: SpotExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = await exchange.create_order(an_order())
    client = exchange._line.client
    fetch = type(client).fetch

    async def refusing(self: Any, url: str, method: str, *rest: Any) -> Any:
        if method != "DELETE":
            return await fetch(self, url, method, *rest)
        said = {"code": -2011, "msg": "Order was not canceled due to cancel restrictions."}
        return self.handle_errors(400, "", url, method, {}, "", said, {}, None)

    monkeypatch.setattr(type(client), "fetch", refusing)
    with pytest.raises(OrderRefused, match="restrictions"):
        await exchange.cancel_order(placed.client_order_id, SYMBOL)


async def test_an_answer_about_another_order_leaves_ours_unknown(
    exchange: SpotExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    await exchange.open_orders()
    client = exchange._line.client
    fetch = type(client).fetch

    async def mixing_up(*request: Any) -> Any:
        return {**await fetch(*request), "clientOrderId": "b" * 32}

    monkeypatch.setattr(type(client), "fetch", mixing_up)
    with pytest.raises(OutcomeUnknown):
        await exchange.create_order(an_order())


async def test_a_cancel_that_cannot_be_looked_up_did_nothing(exchange: SpotExchange, binance: BinanceProcess) -> None:
    binance.faults({"what": "5xx_before", "method": "GET", "path": ORDER})
    with pytest.raises(ExchangeUnavailable):
        await exchange.cancel_order(an_order().client_order_id, SYMBOL)


@pytest.mark.parametrize("ahead", [-60.0, 60.0])
async def test_a_clock_that_has_moved_refuses_once_and_is_measured_anew(
    exchange: SpotExchange, binance: BinanceProcess, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    await exchange.open_orders()
    monkeypatch.setattr("node_agent.exchanges.line._SOON", 0.0)
    binance.clock(ahead)
    with pytest.raises(ExchangeUnavailable, match="-1021"):
        await exchange.create_order(an_order())
    assert orders_of(binance) == []
    assert binance.books()["requests"]["GET /api/v3/time"] == 2
    assert (await exchange.create_order(an_order())).status is ExchangeStatus.OPEN
    assert await exchange.clock_offset() == pytest.approx(-ahead, abs=0.2)


async def test_a_key_that_is_no_good_is_told_as_such(exchange: SpotExchange, binance: BinanceProcess) -> None:
    await exchange.open_orders()
    binance.expire_key()
    for asked in (exchange.create_order(an_order()), exchange.balances(), exchange.cancel_order("a" * 32, SYMBOL)):
        with pytest.raises(KeyRefused):
            await asked


async def test_a_wrong_secret_is_told_as_such_and_not_shown(binance: BinanceProcess) -> None:
    ours = opened(binance, secret="x" * 64)
    with pytest.raises(KeyRefused) as raised:
        await ours.create_order(an_order())
    assert "x" * 64 not in repr(raised.value)
    await ours.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda ours: ours.create_order(an_order()),
        lambda ours: ours.cancel_order("a" * 32, SYMBOL),
        lambda ours: ours.balances(),
        lambda ours: ours.markets(),
    ],
)
async def test_nothing_is_sent_before_a_ban_ends(
    exchange: SpotExchange, binance: BinanceProcess, ask: Callable[[SpotExchange], Any]
) -> None:
    await exchange.open_orders()
    binance.limits(ban=1.0)
    with pytest.raises(RateLimited) as first:
        await ask(exchange)
    before = binance.books()["requests"]
    for _ in range(5):
        with pytest.raises(RateLimited) as again:
            await ask(exchange)
        assert again.value.until == first.value.until
    assert binance.books()["requests"] == before


async def test_a_ban_is_kept_by_the_next_process_too(exchange: SpotExchange, binance: BinanceProcess) -> None:
    binance.limits(ban=30.0)
    with pytest.raises(RateLimited) as banned:
        await exchange.open_orders()
    before = binance.books()["requests"]
    told = parse_time(str(exchange.rate_limits["banned_until"]))
    ours = opened(binance, banned_until=told)
    with pytest.raises(RateLimited) as again:
        await ours.markets()
    assert abs(again.value.until - banned.value.until) < timedelta(milliseconds=2)
    assert binance.books()["requests"] == before
    await ours.close()


async def test_a_ban_longer_than_there_are_is_not_remembered(binance: BinanceProcess) -> None:
    ours = opened(binance, banned_until=datetime.now(UTC) + timedelta(days=4))
    assert await ours.markets()
    await ours.close()


async def test_after_a_ban_it_goes_on(exchange: SpotExchange, binance: BinanceProcess) -> None:
    await exchange.open_orders()
    binance.limits(ban=0.5)
    with pytest.raises(RateLimited) as banned:
        await exchange.open_orders()
    await until(banned.value.until)
    assert (await exchange.create_order(an_order())).status is ExchangeStatus.OPEN


async def test_too_many_orders_hold_orders_and_no_cancel(exchange: SpotExchange, binance: BinanceProcess) -> None:
    first = await exchange.create_order(an_order())
    binance.limits(orders_10s=0)
    for _ in range(2):
        with pytest.raises(RateLimited):
            await exchange.create_order(an_order())
    assert binance.books()["requests"][PLACED] == 2
    ended = await exchange.cancel_order(first.client_order_id, SYMBOL)
    assert ended.status is ExchangeStatus.CANCELLED


async def test_our_own_limit_gives_up_what_would_wait_too_long(binance: BinanceProcess) -> None:
    ours = opened(
        binance,
        limits=tuple(replace(each, most=10) if each.seconds == 10.0 else each for each in binance_traits(5.0).limits),
    )
    for _ in range(5):
        await ours.create_order(an_order())
    with pytest.raises(RateLimited):
        await asyncio.gather(*(ours.create_order(an_order()) for _ in range(5)))
    assert "-1015" not in binance.books()["refusals"]
    await ours.close()


async def test_an_exchange_that_is_not_there_did_nothing(binance: BinanceProcess) -> None:
    ours = opened(binance, url="http://127.0.0.1:1")
    with pytest.raises(ExchangeUnavailable):
        await ours.create_order(an_order())
    await ours.close()

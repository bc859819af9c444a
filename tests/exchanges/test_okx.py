"""What is particular to OKX: orders as it takes them, lists that are read backwards, bodies as it documents them."""

from __future__ import annotations

import inspect
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import pytest

from node_agent.core.market import (
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Level,
    Liquidity,
    Market,
    OrderRequest,
    Side,
    TimeInForce,
)
from node_agent.exchanges import allowlist
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.okx import Okx, okx_traits, open_exchange
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused
from node_agent.exchanges.through_ccxt import connect
from tests.okx.caller import ORDER, Caller, rows
from tests.okx.case import CASE
from tests.okx.documented import BALANCE, BOOK, BY_COST, CANDLES, FILL, PENDING, TICKER
from tests.okx.ours import SYMBOL, Told, an_order, at_market, opened
from tests.okx.signing import stamp
from tests.okx.venue import EXPIRES
from tests.venue.fixtures import as_new, caller_of, ours_on, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

DAY: Final = 86_400

process = process_of(CASE)
okx = as_new(CASE, "okx")
hand = caller_of(Caller, "okx", "hand")
exchange = ours_on("okx", opened)


async def test_what_is_written_for_it_is_small() -> None:
    """Another exchange is data, and a class of under a hundred lines."""
    assert len(inspect.getsource(Okx).splitlines()) < 100


async def test_nothing_arrives_after_it_has_settled_that_was_stamped_as_far_ahead_as_okx_lets(
    exchange: Okx, okx: VenueProcess, hand: Caller
) -> None:
    settles, most = exchange.conduct.settles_within.total_seconds(), EXPIRES / 1000
    body = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.01", "px": "30000"}
    sent = time.time()

    def arrives(after: float, ahead: float) -> bool:
        okx.clock(after - (time.time() - sent))
        timestamp = stamp(round((sent + ahead) * 1000))
        named = json.dumps({**body, "clOrdId": uuid4().hex})
        code: str = hand.send("POST", ORDER, named, ok_access_timestamp=timestamp).json()["code"]
        assert code in {"0", "50102"}
        return code == "0"

    assert not arrives(0, most + 1)
    assert arrives(0, most - 1)
    assert arrives(2 * most - 2, most - 1)
    assert not arrives(settles, most - 1)


async def test_an_id_is_one_of_32_characters_and_unique_while_its_order_is_open(exchange: Okx) -> None:
    conduct = exchange.conduct
    assert (conduct.settles_within, conduct.ids_unique_for_ever) == (timedelta(seconds=65), False)
    first = await exchange.create_order(an_order())
    again = an_order(client_order_id=first.client_order_id)
    assert (await exchange.create_order(again)).exchange_order_id == first.exchange_order_id
    await exchange.cancel_order(first.client_order_id, SYMBOL)
    second = await exchange.create_order(again)
    assert second.exchange_order_id != first.exchange_order_id
    found = await exchange.find_order(first.client_order_id, SYMBOL)
    assert found is not None
    assert (found.exchange_order_id, found.status) == (second.exchange_order_id, ExchangeStatus.OPEN)


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (an_order(), {"side": "buy", "ordType": "limit", "px": "30000"}),
        (an_order(side=Side.SELL, price=Decimal("50000.10")), {"side": "sell", "ordType": "limit", "px": "50000.10"}),
        (an_order(time_in_force=TimeInForce.IOC), {"side": "buy", "ordType": "ioc", "px": "30000"}),
        (at_market(), {"side": "buy", "ordType": "market", "banAmend": True}),
        (at_market(side=Side.SELL), {"side": "sell", "ordType": "market", "banAmend": True}),
    ],
)
async def test_each_kind_of_order_is_sent_with_nothing_beside_it(request_: OrderRequest, sent: dict[str, Any]) -> None:
    told = Told(order=[{"clOrdId": request_.client_order_id, "ordId": "7", "sCode": "0", "sMsg": "", "tag": ""}])
    async with told.account() as exchange:
        placed = await exchange.create_order(request_)
    post = told.requests[-1]
    common = {"instId": "BTC-USDT", "tdMode": "cash", "sz": "0.01", "tgtCcy": "base_ccy"}
    assert json.loads(post.body) == {**common, "clOrdId": request_.client_order_id, **sent}
    assert (post.method, post.path, post.query) == ("POST", "/api/v5/trade/order", "")
    assert [name for name in post.headers if name.startswith(("ok-", "x-"))] == [
        "ok-access-key",
        "ok-access-passphrase",
        "ok-access-timestamp",
        "ok-access-sign",
    ]
    assert (placed.exchange_order_id, placed.status) == ("7", ExchangeStatus.OPEN)


@pytest.mark.parametrize(
    "parameters",
    [
        {"clOrdId": "a" * 32, "tag": "6b9ad766b55dBCDE"},
        {"clOrdId": "a" * 32, "tdMode": "cross"},
        {"clOrdId": "a" * 32, "tdMode": "isolated"},
        {"clOrdId": "a" * 32, "tgtCcy": "quote_ccy"},
        {"clOrdId": "a" * 32, "stopLoss": {"triggerPrice": "29000"}},
        {"clOrdId": "a" * 32, "triggerPrice": "29000"},
        {"clOrdId": "a" * 32, "reduceOnly": True},
    ],
)
async def test_no_tag_margin_or_order_within_an_order_goes_out(
    exchange: Okx, okx: VenueProcess, parameters: dict[str, Any]
) -> None:
    await exchange.markets()
    with pytest.raises(Forbidden, match="not sent"):
        await exchange._line.ask(dict, "create_order", SYMBOL, "limit", "buy", "0.01", "30000", parameters, acts=True)
    assert not any(name.startswith("POST") for name in okx.books()["requests"])


async def test_ccxt_itself_tags_no_order_even_one_without_an_id() -> None:
    told = Told(order=[{"clOrdId": "", "ordId": "7", "sCode": "0", "sMsg": "", "tag": ""}])
    async with told.account() as exchange:
        await exchange.markets()
        await exchange._line.ask(dict, "create_order", SYMBOL, "limit", "buy", "0.01", "30000", {}, acts=True)
    assert not {"tag", "clOrdId"} & json.loads(told.requests[-1].body).keys()


async def test_the_address_is_okxs_own_where_there_is_no_stand_in() -> None:
    line = connect(okx_traits(), replace(CASE.opening(""), url=None))
    sent = line.client.sign("trade/order", ["private"], "GET", {"instId": "BTC-USDT", "clOrdId": "a" * 32})
    await line.close()
    assert sent["url"] == f"https://www.okx.com/api/v5/trade/order?instId=BTC-USDT&clOrdId={'a' * 32}"
    Guard(allowlist.read("okx")).request("GET", sent["url"], sent["headers"], sent["body"])


async def test_a_market_order_that_cannot_be_paid_is_refused_and_not_made_smaller(
    exchange: Okx, okx: VenueProcess
) -> None:
    with pytest.raises(OrderRefused, match="51008"):
        await exchange.create_order(at_market(amount=Decimal(50)))
    assert okx.placed() == []


async def test_fills_are_exact_and_name_our_ids_without_a_question(exchange: Okx, okx: VenueProcess) -> None:
    placed = [await exchange.create_order(at_market(amount=Decimal("0.01234567"))) for _ in range(3)]
    async with opened(okx.url) as anew:
        fills = await anew.fills_since(datetime.now(UTC))
        assert list(dict.fromkeys(fill.client_order_id for fill in fills)) == [each.client_order_id for each in placed]
    assert sum(fill.amount for fill in fills) == 3 * Decimal("0.01234567")
    assert [(fill.trade_id, fill.fee) for fill in fills] == [
        (str(trade["id"]), Decimal(trade["commission"])) for trade in okx.books()["trades"]
    ]
    assert {(fill.fee_currency, fill.liquidity, fill.price) for fill in fills} == {
        ("BTC", Liquidity.TAKER, Decimal(40_000))
    }
    assert not {"GET /api/v5/trade/order", "GET /api/v5/trade/fills-history"} & okx.books()["requests"].keys()


async def test_fills_are_read_page_by_page(okx: VenueProcess) -> None:
    async with opened(okx.url, page=2) as exchange:
        for _ in range(4):
            await exchange.create_order(at_market())
        told = [str(trade["id"]) for trade in okx.books()["trades"]]
        assert len(told) > 4
        now = datetime.now(UTC)
        for since in (None, now, now - timedelta(days=30)):
            assert [fill.trade_id for fill in await exchange.fills_since(since)] == told


async def test_fills_since_a_time_come_from_a_minute_before_it(exchange: Okx) -> None:
    await exchange.create_order(at_market())
    all_ = await exchange.fills_since(None)
    assert all_
    assert await exchange.fills_since(all_[-1].at + timedelta(seconds=30)) == all_
    assert await exchange.fills_since(all_[-1].at + timedelta(seconds=90)) == []


async def test_fills_of_before_are_read_from_the_list_of_all(exchange: Okx, okx: VenueProcess) -> None:
    early = await exchange.create_order(at_market())
    okx.clock(4 * DAY)
    async with opened(okx.url) as later:
        recent = await later.create_order(at_market())
        now = await later.exchange_now()
        for since in (None, now - timedelta(days=10)):
            ids = [fill.client_order_id for fill in await later.fills_since(since)]
            assert list(dict.fromkeys(ids)) == [early.client_order_id, recent.client_order_id]
        assert {fill.client_order_id for fill in await later.fills_since(now - timedelta(days=1))} == {
            recent.client_order_id
        }
        trades = await later.trades_of(early.exchange_order_id)
        assert {each.fill.client_order_id for each in trades} == {early.client_order_id}
        assert sum(each.fill.amount for each in trades) == early.amount


async def test_open_orders_are_all_of_them_though_a_page_is_short(okx: VenueProcess) -> None:
    async with opened(okx.url, page=2) as exchange:
        placed = [(await exchange.create_order(an_order())).client_order_id for _ in range(5)]
        assert sorted(each.order.client_order_id for each in await exchange.open_orders()) == sorted(placed)


async def test_recent_orders_are_all_since_a_time_however_they_stand(okx: VenueProcess) -> None:
    async with opened(okx.url, page=2) as exchange:
        requests = [an_order() for _ in range(5)] + [at_market() for _ in range(3)]
        for request in requests:
            await exchange.create_order(request)
        for request in requests[:3]:
            await exchange.cancel_order(request.client_order_id, SYMBOL)
        listed = await exchange.recent_orders(datetime.now(UTC) - timedelta(minutes=5))
        assert sorted(each.client_order_id for each in listed) == sorted(each.client_order_id for each in requests)
        statuses = [each.status for each in listed]
        assert {status: statuses.count(status) for status in statuses} == {
            ExchangeStatus.OPEN: 2,
            ExchangeStatus.FILLED: 3,
            ExchangeStatus.CANCELLED: 3,
        }
        assert await exchange.recent_orders(datetime.now(UTC) + timedelta(minutes=1)) == []


async def test_an_order_that_the_owner_gave_a_cost_is_read_whatever_became_of_it(
    exchange: Okx, okx: VenueProcess, hand: Caller
) -> None:
    okx.price("40000", depth="0.001")
    (placed,) = rows(hand.market(sz="400", tgtCcy="quote_ccy", clOrdId="hand"))
    order = await exchange.order(placed["ordId"])
    assert (order.status, order.amount, order.filled) == (
        ExchangeStatus.CANCELLED,
        Decimal("0.001"),
        Decimal("0.001"),
    )
    assert [each.client_order_id for each in await exchange.recent_orders(datetime.now(UTC) - timedelta(hours=1))] == [
        "hand"
    ]


async def test_nothing_is_made_up_of_a_cancelled_order_that_okx_has_forgotten(exchange: Okx, okx: VenueProcess) -> None:
    placed = await exchange.create_order(an_order())
    await exchange.cancel_order(placed.client_order_id, SYMBOL)
    okx.clock(3 * 3600)
    async with opened(okx.url) as later:
        assert await later.find_order(placed.client_order_id, SYMBOL) is None
        with pytest.raises(OrderRefused):
            await later.cancel_order(placed.client_order_id, SYMBOL)


async def test_the_documented_bodies_are_read_to_their_values() -> None:
    told = Told(
        fills=[FILL],
        fills_history=[],
        orders_pending=[PENDING],
        order=[BY_COST],
        balance=[BALANCE],
        ticker=[TICKER],
        books=[BOOK],
        candles=CANDLES,
    )
    async with told.account() as exchange:
        assert await exchange.markets() == {
            SYMBOL: Market(SYMBOL, "BTC", "USDT", Decimal("0.1"), Decimal("0.00000001"), Decimal(0), Decimal("0.00001"))
        }
        assert await exchange.fills_since(None) == [
            Fill(
                trade_id="744876980",
                client_order_id="",
                symbol=SYMBOL,
                side=Side.BUY,
                price=Decimal(51_858),
                amount=Decimal("0.00192834"),
                fee=Decimal("0.00000192834"),
                fee_currency="BTC",
                liquidity=Liquidity.TAKER,
                at=datetime(2024, 2, 22, 7, 36, 13, 362_000, tzinfo=UTC),
            )
        ]
        (pending,) = await exchange.open_orders()
        assert (pending.side, pending.price) == (Side.BUY, Decimal("13013.5"))
        assert pending.order == ExchangeOrder(
            "", "1752588852617379840", SYMBOL, ExchangeStatus.OPEN, Decimal("0.001"), Decimal(0)
        )
        amount = Decimal("0.00192834")
        assert await exchange.order("680800019749904384") == ExchangeOrder(
            "", "680800019749904384", SYMBOL, ExchangeStatus.FILLED, amount, amount, Decimal(51_858)
        )
        assert await exchange.balances() == {"BTC": Decimal("0.05"), "USDT": Decimal("28.21006347")}
        ticker = await exchange.ticker()
        assert (ticker.last, ticker.bid, ticker.ask) == (Decimal("9999.99"), Decimal("8888.88"), Decimal("9999.99"))
        book = await exchange.book(5)
        assert book.bids == (Level(Decimal("41006.3"), Decimal("0.30178218")),)
        assert book.asks == (Level(Decimal("41006.8"), Decimal("0.60038921")),)
        first, second = await exchange.candles(None)
        assert (first.open, first.high, first.low, first.close) == tuple(
            map(Decimal, ("3.731", "3.799", "3.494", "3.72"))
        )
        assert (first.volume, second.at - first.at) == (Decimal(24_912_403), timedelta(minutes=1))


@pytest.mark.parametrize(
    "changed",
    [
        {"fee": ""},
        {"feeCcy": ""},
        {"fillSz": "much"},
        {"side": "both"},
        {"ts": "soon"},
        {"clOrdId": None, "tradeId": None},
    ],
)
async def test_a_fill_that_cannot_be_read_is_none(changed: dict[str, Any]) -> None:
    async with Told(fills=[{**FILL, **changed}], fills_history=[]).account() as exchange:
        with pytest.raises(ExchangeUnavailable, match="cannot be read"):
            await exchange.fills_since(None)


async def test_candles_of_long_ago_come_from_their_own_list(exchange: Okx, okx: VenueProcess) -> None:
    since = datetime.now(UTC) - timedelta(days=2)
    candles = await exchange.candles(since)
    assert len(candles) == 100
    assert timedelta(0) <= candles[0].at - since < timedelta(minutes=1)
    assert "GET /api/v5/market/history-candles" in okx.books()["requests"]


async def test_an_interval_without_candles_is_none_of_its() -> None:
    with pytest.raises(ValueError, match="no candles"):
        open_exchange(replace(CASE.opening("http://127.0.0.1:9"), interval=timedelta(seconds=7)))

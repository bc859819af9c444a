"""What is particular to Coinbase: rules of one product, orders in its own words, what its owner does, long lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Final
from uuid import uuid4

import pytest

from node_agent.core import ids
from node_agent.core.market import (
    ExchangeOrder,
    ExchangeStatus,
    IdForm,
    Liquidity,
    Market,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from node_agent.exchanges import allowlist
from node_agent.exchanges.coinbase import Coinbase, coinbase_traits
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown
from tests.coinbase import tokens
from tests.coinbase.caller import CANCEL, LIST, ORDERS, ROOT, Caller
from tests.coinbase.case import CASE
from tests.coinbase.ours import RECORDED, SYMBOL, an_order, answering, at_market, not_made, opened, product
from tests.venue.fixtures import as_new, caller_of, ours_on, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

ASKED: Final = {"client_order_id": "x", "product_id": "BTC-USD", "side": "BUY"}


process = process_of(CASE)
venue = as_new(CASE, "venue")
hand = caller_of(Caller, "venue", "hand")
exchange = ours_on("venue", opened)


async def test_the_rules_of_one_product_are_all_that_is_read_of_products(
    exchange: Coinbase, venue: VenueProcess
) -> None:
    assert await exchange.markets() == {
        SYMBOL: Market(SYMBOL, "BTC", "USD", Decimal("0.01"), Decimal("0.00000001"), Decimal(1), Decimal("1E-8"))
    }
    assert set(venue.books()["requests"]) == {f"GET {ROOT}market/products/BTC-USD"}


async def test_a_symbol_that_is_not_traded_there_is_no_market(venue: VenueProcess) -> None:
    async with opened(venue.url, symbol="BTC/NONE") as ours:
        with pytest.raises(ExchangeError, match="product_id"):
            await ours.markets()


async def test_balances_are_read_to_the_last_wallet_exactly(exchange: Coinbase, venue: VenueProcess) -> None:
    assert await exchange.balances() == {
        "BTC": Decimal(5),
        "ETH": Decimal(50),
        "USD": Decimal(100_000),
        "USDC": Decimal("250.5"),
    }
    assert venue.books()["requests"][f"GET {ROOT}accounts"] == 2


async def test_its_conduct_is_what_its_documents_say() -> None:
    conduct = coinbase_traits().conduct
    assert (conduct.id_form, conduct.ids_unique_for_ever) == (IdForm.UUID, True)
    assert conduct.settles_within >= timedelta(seconds=tokens.GOOD_FOR)


@pytest.mark.parametrize(
    ("request_", "configuration"),
    [
        (at_market(), {"market_market_ioc": {"base_size": "0.01"}}),
        (at_market(side=Side.SELL), {"market_market_ioc": {"base_size": "0.01"}}),
        (an_order(amount=Decimal("1E-7")), {"limit_limit_gtc": {"base_size": "0.0000001", "limit_price": "30000"}}),
        (
            an_order(side=Side.SELL, time_in_force=TimeInForce.IOC, price=Decimal("40000.10")),
            {"sor_limit_ioc": {"base_size": "0.01", "limit_price": "40000.10"}},
        ),
    ],
    ids=["buy at market", "sell at market", "limit", "limit at once"],
)
async def test_an_order_is_sent_with_our_id_and_nothing_beside_it(
    request_: OrderRequest, configuration: Mapping[str, Any]
) -> None:
    """An amount is one of the base on both sides; ccxt would have made money of a purchase, and an id of its own."""
    made = {"client_order_id": ids.written(request_.client_order_id, IdForm.UUID), "order_id": str(uuid4())}
    answers = {
        "market/products/BTC-USD": {**RECORDED["market/products/ADA-USDT"], **product("BTC", "USD")},
        "orders": {"success": True, "success_response": made},
    }
    async with answering(answers) as (url, asked), opened(url) as ours:
        placed = await ours.create_order(request_)
    (sent,) = [each for each in asked if each.method == "POST"]
    assert json.loads(sent.body) == {
        "client_order_id": made["client_order_id"],
        "product_id": "BTC-USD",
        "side": request_.side.value.upper(),
        "order_configuration": configuration,
    }
    assert placed == ExchangeOrder(
        request_.client_order_id, made["order_id"], SYMBOL, ExchangeStatus.OPEN, request_.amount, Decimal(0)
    )


async def test_an_answer_about_another_order_may_be_one_about_ours() -> None:
    made = {"client_order_id": str(uuid4()), "order_id": str(uuid4())}
    answers = {
        "market/products/BTC-USD": {**RECORDED["market/products/ADA-USDT"], **product("BTC", "USD")},
        "orders": {"success": True, "success_response": made},
    }
    async with answering(answers) as (url, _), opened(url) as ours:
        with pytest.raises(OutcomeUnknown):
            await ours.create_order(an_order())


async def test_every_order_there_has_an_id_of_ours(exchange: Coinbase, venue: VenueProcess) -> None:
    requests = [an_order(), at_market(), at_market(side=Side.SELL), an_order(time_in_force=TimeInForce.IOC)]
    for request in requests:
        await exchange.create_order(request)
    assert [each.client_id for each in venue.placed()] == [
        ids.written(each.client_order_id, IdForm.UUID) for each in requests
    ]


async def test_what_ccxt_would_send_by_itself_is_not_on_the_list(exchange: Coinbase, venue: VenueProcess) -> None:
    await exchange.markets()
    client = exchange._line.client
    for kind, parameters in (
        ("limit", {}),
        ("limit", {"leverage": "2"}),
        ("limit", {"retail_portfolio_id": str(uuid4())}),
        ("limit", {"marginMode": "cross"}),
        ("limit", {"triggerPrice": "30000"}),
        ("market", {}),
    ):
        with pytest.raises(Forbidden), localcontext():
            await client.create_order(SYMBOL, kind, "buy", "0.01", "30000", parameters)
    for name, arguments in (
        ("edit_order", ("x1", SYMBOL, "limit", "buy", "0.02", "30000")),
        ("close_position", (SYMBOL, "sell", {"client_order_id": "x1"})),
        ("fetch_accounts_v2", ()),
        ("v3_private_post_brokerage_portfolios_move_funds", ({"funds": {"value": "1", "currency": "USD"}},)),
        ("v3_private_post_brokerage_convert_quote", ({"from_account": "x1", "to_account": "x2", "amount": "1"},)),
        ("v2_private_post_accounts_account_id_transactions", ({"account_id": "x1", "type": "send", "to": "x"},)),
    ):
        with pytest.raises(Forbidden):
            await getattr(client, name)(*arguments)
    assert not [name for name in venue.books()["requests"] if name.startswith("POST")]


async def test_nothing_on_the_list_moves_or_changes_money() -> None:
    listed = allowlist.read("coinbase")
    acting = {
        each.url.removeprefix("https://api.coinbase.com"): each for each in listed.allowed if each.method != "GET"
    }
    assert set(acting) == {ORDERS, CANCEL} == {path for path, each in acting.items() if each.acts}
    assert {each.host for each in listed.allowed} == {"api.coinbase.com"}
    assert all("/api/v3/brokerage/" in each.url for each in listed.allowed)
    kinds = {name.split(".")[1] for name in acting[ORDERS].body if name.startswith("order_configuration.")}
    assert kinds == {"market_market_ioc", "limit_limit_gtc", "sor_limit_ioc"}
    guard = Guard(listed)
    for path in (
        "/v2/accounts/x1/transactions",
        "/api/v3/brokerage/portfolios/move_funds",
        "/api/v3/brokerage/convert/quote",
        "/api/v3/brokerage/convert/trade/x1",
        "/api/v3/brokerage/orders/edit",
        "/api/v3/brokerage/orders/close_position",
        "/api/v3/brokerage/portfolios",
    ):
        with pytest.raises(Forbidden):
            guard.request("POST", f"https://api.coinbase.com{path}", {}, None)
    fine = {**ASKED, "order_configuration": {"market_market_ioc": {"base_size": "1"}}}
    guard.request("POST", f"https://api.coinbase.com{ORDERS}", {}, json.dumps(fine))
    for wrong in (
        {"leverage": "2.0"},
        {"margin_type": "CROSS"},
        {"retail_portfolio_id": "x1"},
        {"preview_id": "x1"},
        {"side": "BOTH"},
        {"attached_order_configuration": {"market_market_ioc": {"base_size": "1"}}},
        {"order_configuration": {"market_market_ioc": {"quote_size": "1"}}},
        {"order_configuration": {"stop_limit_stop_limit_gtc": {"base_size": "1"}}},
    ):
        with pytest.raises(Forbidden):
            guard.request("POST", f"https://api.coinbase.com{ORDERS}", {}, json.dumps({**fine, **wrong}))


@pytest.mark.parametrize("stop", [Decimal(30000), Decimal(50000)])
async def test_a_stop_is_refused_before_anything_is_asked(
    exchange: Coinbase, venue: VenueProcess, stop: Decimal
) -> None:
    with pytest.raises(OrderRefused, match="not sent: Coinbase has no stop"):
        await exchange.create_order(at_market(type=OrderType.STOP, side=Side.SELL, stop_price=stop))
    assert venue.books()["requests"] == {}


async def test_an_id_that_was_used_answers_with_how_the_first_order_stands(
    exchange: Coinbase, venue: VenueProcess
) -> None:
    request = at_market()
    await exchange.create_order(request)
    first = await exchange.find_order(request.client_order_id, SYMBOL)
    assert first is not None
    async with opened(venue.url) as later:
        again = await later.create_order(request)
    assert again == first
    assert (again.status, again.filled) == (ExchangeStatus.FILLED, Decimal("0.01"))
    assert len(venue.placed()) == 1


async def test_an_id_that_is_refused_as_used_is_looked_for(exchange: Coinbase, venue: VenueProcess) -> None:
    """Coinbase lists that reason too, though its documents say that the first order is told."""
    request = an_order()
    first = await exchange.create_order(request)
    exchange._line.client.fetch = refusing(exchange, "DUPLICATE_CLIENT_ORDER_ID")
    assert await exchange.create_order(request) == first
    unknown = an_order()
    with pytest.raises(OutcomeUnknown):
        await exchange.create_order(unknown)
    assert len(venue.placed()) == 1


def refusing(exchange: Coinbase, reason: str) -> Any:
    """In place of ccxt's `fetch`: new orders are refused."""
    client = exchange._line.client
    fetch = client.fetch

    async def fetched(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        if method != "POST":
            return await fetch(url, method, headers, body)
        told = not_made(new_order_failure_reason=reason)
        return client.handle_errors(200, "OK", url, method, {}, json.dumps(told), told, headers, body)

    return fetched


async def test_an_order_stays_placed_when_how_it_stands_cannot_be_read(exchange: Coinbase, venue: VenueProcess) -> None:
    await exchange.markets()
    await exchange.balances()
    venue.faults(*({"what": "5xx_before", "method": "GET"} for _ in range(4)))
    request = at_market()
    placed = await exchange.create_order(request)
    assert (placed.client_order_id, placed.status, placed.filled) == (
        request.client_order_id,
        ExchangeStatus.OPEN,
        Decimal(0),
    )
    venue.faults()
    assert (await exchange.order(placed.exchange_order_id)).status is ExchangeStatus.FILLED


async def test_a_cancel_is_sent_once_and_tells_how_the_order_stands(exchange: Coinbase, venue: VenueProcess) -> None:
    request = an_order()
    await exchange.create_order(request)
    first = await exchange.cancel_order(request.client_order_id, SYMBOL)
    assert first.status in {ExchangeStatus.OPEN, ExchangeStatus.CANCELLED}
    again = await exchange.cancel_order(request.client_order_id, SYMBOL)  # perhaps while the first is under way
    assert again.exchange_order_id == first.exchange_order_id
    assert venue.books()["requests"][f"POST {CANCEL}"] == 2


async def test_orders_by_an_amount_of_money_are_read_with_all_others(
    exchange: Coinbase, venue: VenueProcess, hand: Caller
) -> None:
    made = hand.placed({"market_market_ioc": {"quote_size": "400"}})
    ours = at_market()
    await exchange.create_order(ours)
    told = {
        each.exchange_order_id: each for each in await exchange.recent_orders(datetime.now(UTC) - timedelta(minutes=1))
    }
    theirs = told[made["order_id"]]
    assert (theirs.status, theirs.amount, theirs.filled) == (ExchangeStatus.FILLED, Decimal("0.01"), Decimal("0.01"))
    assert len(told) == 2
    assert {each.client_order_id for each in await exchange.fills_since(None)} == {
        ours.client_order_id,
        ids.read(made["client_order_id"], IdForm.UUID),
    }


async def test_what_is_on_another_product_is_not_ours(exchange: Coinbase, hand: Caller) -> None:
    hand.placed({"limit_limit_gtc": {"base_size": "1", "limit_price": "1000"}}, product_id="ETH-USD")
    hand.placed({"market_market_ioc": {"base_size": "1"}}, product_id="ETH-USD")
    assert await exchange.open_orders() == []
    assert await exchange.fills_since(None) == []
    assert await exchange.recent_orders(datetime.now(UTC) - timedelta(minutes=1)) == []


async def test_open_orders_and_orders_of_before_are_read_page_by_page(venue: VenueProcess) -> None:
    async with opened(venue.url, page=2) as ours:
        placed = [await ours.create_order(an_order()) for _ in range(5)]
        assert [each.order for each in await ours.open_orders()] == list(reversed(placed))
        asked = venue.books()["requests"][f"GET {LIST}"]
        assert asked == 3
        recent = await ours.recent_orders(datetime.now(UTC) - timedelta(minutes=1))
        assert list(recent) == list(reversed(placed))
        assert await ours.recent_orders(datetime.now(UTC) + timedelta(minutes=1)) == []


async def test_an_order_is_looked_for_no_further_than_the_page_that_has_it(venue: VenueProcess) -> None:
    """Open ones first, then those of a month: both begin with the newest."""
    requests = [an_order() for _ in range(5)] + [at_market() for _ in range(5)]
    async with opened(venue.url) as ours:
        placed = [await ours.create_order(each) for each in requests]
    for number, pages in ((4, 1), (0, 3), (9, 4), (5, 6), (None, 8)):
        before = venue.books()["requests"].get(f"GET {LIST}", 0)
        async with opened(venue.url, page=2) as later:
            wanted = an_order() if number is None else requests[number]
            found = await later.find_order(wanted.client_order_id, SYMBOL)
        assert found == (None if number is None else placed[number])
        assert venue.books()["requests"][f"GET {LIST}"] - before == pages


async def test_all_fills_are_read_page_by_page(exchange: Coinbase, venue: VenueProcess) -> None:
    for _ in range(4):
        await exchange.create_order(at_market())
    sizes = [Decimal(each["quantity"]) for each in venue.books()["trades"]]
    async with opened(venue.url, page=2) as ours:
        for since in (None, datetime.now(UTC), datetime.now(UTC) - timedelta(days=3)):
            fills = await ours.fills_since(since)
            assert sorted(each.amount for each in fills) == sorted(sizes)
            assert len({each.trade_id for each in fills}) == len(sizes)
        assert await ours.fills_since(datetime.now(UTC) + timedelta(minutes=5)) == []


async def test_many_orders_that_are_not_known_are_looked_for_in_the_list(
    exchange: Coinbase, venue: VenueProcess
) -> None:
    placed = {(await exchange.create_order(at_market())).client_order_id for _ in range(8)}
    asked = venue.books()["requests"]
    async with opened(venue.url) as later:
        assert {each.client_order_id for each in await later.fills_since(None)} == placed
    more = {name: count - asked.get(name, 0) for name, count in venue.books()["requests"].items()}
    assert more[f"GET {LIST}"] == 1
    assert not [
        name for name, count in more.items() if count and name.startswith(f"GET {ORDERS}/historical/") and "-" in name
    ]


NOTHING: Final = {"has_next": False, "cursor": ""}
NO_LISTS: Final[tuple[Any, ...]] = ({}, [{}], [None], "")


@pytest.mark.parametrize(
    "told",
    [
        *({"orders": listed, **NOTHING} for listed in NO_LISTS),
        {"orders": None, "has_next": True, "cursor": "more"},
        {"orders": None},
        {},
    ],
    ids=str,
)
async def test_a_list_that_cannot_be_read_is_an_error_of_the_port(told: Any) -> None:
    answers = {
        "market/products/BTC-USD": {**RECORDED["market/products/ADA-USDT"], **product("BTC", "USD")},
        "orders/historical/batch": told,
    }
    async with answering(answers) as (url, _), opened(url) as ours:
        with pytest.raises(ExchangeUnavailable):
            await ours.open_orders()


@pytest.mark.parametrize("member", [{"orders": None, "fills": None}, {}, {"orders": [], "fills": []}], ids=str)
async def test_a_list_of_nothing_is_one_however_it_is_written(member: Mapping[str, Any]) -> None:
    answers = {
        "market/products/BTC-USD": {**RECORDED["market/products/ADA-USDT"], **product("BTC", "USD")},
        "orders/historical/batch": {**member, **NOTHING},
        "orders/historical/fills": {**member, "cursor": ""},
    }
    async with answering(answers) as (url, _), opened(url) as ours:
        assert await ours.open_orders() == []
        assert await ours.find_order(an_order().client_order_id, SYMBOL) is None
        assert await ours.fills_since(None) == []


async def test_fills_of_one_order_are_those_alone(exchange: Coinbase) -> None:
    for _ in range(2):
        order = await exchange.create_order(at_market())
    told = await exchange.trades_of(order.exchange_order_id)
    assert {each.exchange_order_id for each in told} == {order.exchange_order_id}
    assert sum(each.fill.amount for each in told) == order.filled == Decimal("0.01")


async def test_fills_are_exact_with_their_fee_in_dollars_on_either_side(exchange: Coinbase) -> None:
    buy = await exchange.create_order(at_market(amount=Decimal("0.01234")))
    sell = await exchange.create_order(at_market(side=Side.SELL, amount=Decimal("0.002")))
    fills = await exchange.fills_since(None)
    assert {each.fee_currency for each in fills} == {"USD"}
    for order, fee in ((buy, "0.4936"), (sell, "0.08")):
        of_it = [each for each in fills if each.client_order_id == order.client_order_id]
        assert sum(each.amount for each in of_it) == order.filled == order.amount
        assert sum(each.fee for each in of_it) == pytest.approx(Decimal(fee), abs=Decimal("1e-7"))
        assert {(each.price, each.liquidity) for each in of_it} == {(Decimal(40_000), Liquidity.TAKER)}

"""What is particular to Robinhood behind the port: its key, ids without a query, fills without ids, prices alone."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr

from node_agent.core.market import (
    Candle,
    ExchangeStatus,
    IdForm,
    OrderType,
    Side,
    Ticker,
    TimeInForce,
)
from node_agent.exchange_keys import flaw
from node_agent.exchanges import robinhood_reading as reading
from node_agent.exchanges.failures import DuplicateOrder
from node_agent.exchanges.guard import Forbidden
from node_agent.exchanges.port import (
    ExchangeUnavailable,
    OrderRefused,
    OutcomeUnknown,
    RealExchange,
)
from node_agent.exchanges.profile import KeyCheck
from node_agent.exchanges.robinhood import CONDUCT, PROFILE, Robinhood, open_exchange
from tests.exchanges.stub import Stub
from tests.robinhood.app import ACCOUNTS, HOLDINGS, ORDERS, PAGE, PAIRS, PRICES
from tests.robinhood.case import CASE, KEY, SEED
from tests.robinhood.opening import (
    ORDER_ID,
    OUR_ID,
    SYMBOL,
    Scripted,
    a_pair,
    an_execution,
    an_opening,
    an_order,
    an_order_row,
    on,
)
from tests.venue.fixtures import as_new, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

ROOT = Path(__file__).parent.parent.parent


running = process_of(CASE, name="running")
process = as_new(CASE, "process", of="running")


@pytest_asyncio.fixture
async def exchange(process: VenueProcess) -> AsyncIterator[Robinhood]:
    ours = open_exchange(CASE.opening(process.url))
    yield ours
    await ours.close()


class Standing(Scripted):
    """Tells the open orders that it is given, by state."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[dict[str, Any]]] = {"open": [], "partially_filled": []}

    async def get(self, read: Any, path: str, query: Any = None) -> Any:
        if path != ORDERS:
            return await super().get(read, path, query)
        self.asked.append((path, dict(query)))
        return read({"results": self.rows[query["state"]], "next": None})

    def states(self) -> list[str]:
        """Of the lists that were asked for since the last time."""
        asked, self.asked = [query["state"] for path, query in self.asked if path == ORDERS], []
        return asked


@pytest.mark.parametrize(
    ("parts", "taken"),
    [
        ({"key": KEY, "secret": SEED}, True),
        ({"key": KEY.removeprefix("rh-api-"), "secret": SEED}, True),
        ({"key": f" {KEY}\n", "secret": f"{SEED}\n"}, True),
        ({"key": "rh-api-1", "secret": SEED}, False),
        ({"key": KEY, "secret": SEED[:-1]}, False),
        ({"key": KEY, "secret": "-----BEGIN PRIVATE KEY-----"}, False),
        ({"key": KEY}, False),
    ],
)
async def test_a_key_looks_as_robinhood_hands_it_out(parts: dict[str, str], taken: bool) -> None:
    assert (flaw(PROFILE, parts) is None) == taken


async def test_nobody_can_ask_what_the_key_may_do(exchange: Robinhood) -> None:
    assert PROFILE.key_check is KeyCheck.ATTESTED
    assert PROFILE.rules is None
    assert await exchange.key_permissions() is None


async def test_its_ids_are_uuids_and_a_lost_request_is_waited_for_longer_than_it_is_good() -> None:
    assert CONDUCT.id_form is IdForm.UUID
    assert CONDUCT.settles_within > timedelta(seconds=30)
    assert not CONDUCT.ids_unique_for_ever


async def test_a_profile_needs_no_library_of_the_web() -> None:
    program = "import sys, node_agent.exchanges.robinhood; print({'httpx', 'ccxt', 'aiohttp'} & set(sys.modules))"
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    told, _ = await run.communicate()
    assert told.strip() == b"set()"


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://192.0.2.1:80"},
        {"interval": timedelta(seconds=1)},
        {"interval": timedelta(minutes=7)},
        {"credentials": {"key": SecretStr(KEY), "secret": SecretStr("A" * 43)}},
    ],
    ids=["elsewhere", "too short", "no part of a day", "no key"],
)
async def test_what_it_cannot_be_opened_with_is_told_at_once(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"loopback|candles|private key"):
        open_exchange(an_opening(changes.pop("url", "http://127.0.0.1:9"), **changes))


async def test_it_keeps_the_port(exchange: Robinhood) -> None:
    port: RealExchange = exchange
    assert (port.name, port.conduct) == ("robinhood", CONDUCT)


async def test_an_order_that_robinhood_has_no_words_for_is_not_sent(exchange: Robinhood, process: VenueProcess) -> None:
    for request in (an_order(time_in_force=TimeInForce.IOC), an_order(price=None)):
        with pytest.raises(OrderRefused, match="not sent"):
            await exchange.create_order(request)
    assert process.books()["requests"] == {}


@pytest.mark.parametrize("ahead", [-7200.0, -40.0, 0.0, 3.0, 400.0])
async def test_the_clock_is_learnt_from_any_answer_and_orders_are_stamped_by_it(
    process: VenueProcess, ahead: float
) -> None:
    process.clock(ahead)
    ours = open_exchange(CASE.opening(process.url))
    placed = await ours.create_order(an_order())
    offset = await ours.clock_offset()
    await ours.close()
    assert placed.status is ExchangeStatus.OPEN
    assert offset is not None
    assert offset == pytest.approx(-ahead, abs=1.1)
    books = process.books()
    assert books["requests"][f"POST {ORDERS}"] == 1
    assert sum(books["refusals"].values()) == (1 if abs(ahead) > 30 else 0)


@pytest.mark.parametrize("known", [True, False])
async def test_an_id_that_robinhood_refuses_as_taken_answers_with_its_order_or_is_unknown(known: bool) -> None:
    rows = [an_order_row()] if known else []

    class Refusing(Scripted):
        async def place(self, *_: Any) -> Any:
            raise DuplicateOrder("400 client_order_id already exists")

    ours = on(Refusing((ORDERS, {"results": rows, "next": None})))
    request = an_order(client_order_id=OUR_ID)
    if known:
        assert (await ours.create_order(request)).exchange_order_id == ORDER_ID
        return
    with pytest.raises(OutcomeUnknown):
        await ours.create_order(request)


async def test_an_answer_about_another_order_is_unknown() -> None:
    async with Stub(201, json.dumps({**an_order_row(), "results": [a_pair()]})) as stub:
        ours = open_exchange(an_opening(stub.url))
        with pytest.raises(OutcomeUnknown):
            await ours.create_order(an_order())
        assert (await ours.create_order(an_order(client_order_id=OUR_ID))).exchange_order_id == ORDER_ID
        await ours.close()


async def test_lists_are_read_to_their_end_whatever_host_they_name(exchange: Robinhood, process: VenueProcess) -> None:
    placed = [await exchange.create_order(an_order()) for _ in range(7)]
    for _ in range(5):
        await exchange.create_order(an_order(type=OrderType.MARKET, price=None))
    assert {each.order.exchange_order_id for each in await exchange.open_orders()} == {
        each.exchange_order_id for each in placed
    }
    assert len(await exchange.recent_orders(datetime.now(UTC) - timedelta(hours=1))) == 12
    fills = await exchange.fills_since(None)
    assert sum(each.amount for each in fills) == Decimal("0.05")
    assert [each.at for each in fills] == sorted(each.at for each in fills)
    assert await exchange.fills_since(datetime.now(UTC) + timedelta(minutes=5)) == []


async def test_a_list_that_goes_round_in_a_circle_ends() -> None:
    page = {"results": [], "next": f"https://trading.robinhood.com{ORDERS}?cursor=bz0x"}
    with pytest.raises(ExchangeUnavailable, match="without end"):
        await on(Scripted((ORDERS, page))).fills_since(None)


async def test_open_orders_are_asked_for_in_the_order_in_which_they_move() -> None:
    line = Scripted(
        (ORDERS, {"results": [an_order_row()], "next": None}),
        (
            ORDERS,
            {
                "results": [
                    an_order_row(state="partially_filled", filled_asset_quantity="0.00005", average_price=36352.78)
                ],
                "next": None,
            },
        ),
    )
    (listed,) = await on(line).open_orders()
    assert [query["state"] for path, query in line.asked if path == ORDERS] == ["open", "partially_filled"]
    assert (listed.order.filled, listed.order.amount) == (Decimal("0.00005"), Decimal("0.0001"))
    assert (listed.side, listed.price) == (Side.BUY, Decimal("36352.78"))


async def test_an_order_that_its_own_address_does_not_know_yet_is_found_in_the_list(
    exchange: Robinhood, process: VenueProcess
) -> None:
    request = an_order()
    placed = await exchange.create_order(request)
    exchange.know([(request.client_order_id, str(uuid4()))])
    assert await exchange.find_order(request.client_order_id, SYMBOL) == placed


async def test_an_order_is_looked_for_no_further_than_the_page_that_has_it(
    exchange: Robinhood, process: VenueProcess
) -> None:
    placed = [await exchange.create_order(an_order()) for _ in range(2 * PAGE + 1)]
    for number, pages in ((2 * PAGE, 1), (PAGE, 2), (0, 3)):
        before = process.books()["requests"].get(f"GET {ORDERS}", 0)
        later = open_exchange(CASE.opening(process.url))
        assert await later.find_order(placed[number].client_order_id, SYMBOL) == placed[number]
        await later.close()
        assert process.books()["requests"][f"GET {ORDERS}"] - before == pages


@pytest.mark.parametrize("state", ["open", "partially_filled"])
async def test_an_open_order_is_found_however_long_ago_it_was_placed(state: str) -> None:
    class OfLongAgo(Scripted):
        async def get(self, read: Any, path: str, query: Any = None) -> Any:
            if path == ORDERS and query.get("state") == state:
                return read({"results": [an_order_row(state=state)], "next": None})
            return await super().get(read, path, query)

    found = await on(OfLongAgo()).find_order(OUR_ID, SYMBOL)
    assert found is not None
    assert found.exchange_order_id == ORDER_ID


@pytest.mark.parametrize("filter_", ["created_at_start", "open", "partially_filled"])
async def test_an_empty_list_is_asked_for_again_before_it_is_believed(filter_: str) -> None:
    class EmptyAtFirst(Scripted):
        asked_before = False

        async def get(self, read: Any, path: str, query: Any = None) -> Any:
            if path == ORDERS and filter_ in (*query, query.get("state")):
                known, self.asked_before = self.asked_before, True
                return read({"results": [an_order_row()] if known else [], "next": None})
            return await super().get(read, path, query)

    found = await on(EmptyAtFirst()).find_order(OUR_ID, SYMBOL)
    assert found is not None
    assert found.exchange_order_id == ORDER_ID


async def test_a_list_that_says_there_is_more_and_has_no_more_is_asked_for_again() -> None:
    first = {"results": [an_order_row(client_order_id=str(uuid4()))], "next": f"https://x{ORDERS}?cursor=bz0x"}
    nothing: dict[str, Any] = {"results": [], "next": None}
    line = Scripted(
        *((ORDERS, page) for page in (first, nothing, nothing, nothing, first)),
        (ORDERS, {"results": [an_order_row()], "next": None}),
    )
    found = await on(line).find_order(OUR_ID, SYMBOL)
    assert found is not None


async def test_what_is_in_no_list_is_looked_for_twice_where_a_list_was_empty_and_once_where_it_was_not() -> None:
    line = Scripted()
    assert await on(line).find_order(OUR_ID, SYMBOL) is None
    assert [path for path, _ in line.asked if path == ORDERS] == [ORDERS] * 6
    line = Scripted((ORDERS, {"results": [an_order_row(client_order_id=str(uuid4()))], "next": None}))
    assert await on(line).find_order(OUR_ID, SYMBOL) is None
    assert [path for path, _ in line.asked if path == ORDERS] == [ORDERS] * 3


async def test_a_search_that_fails_half_way_finds_nothing_out(exchange: Robinhood, process: VenueProcess) -> None:
    await exchange.markets()
    process.faults({"what": "5xx_before", "path": ORDERS})
    with pytest.raises(ExchangeUnavailable):
        await exchange.find_order(an_order().client_order_id, SYMBOL)


async def test_a_cancel_is_told_as_open_until_it_was_carried_out(exchange: Robinhood) -> None:
    request = an_order()
    await exchange.create_order(request)
    assert (await exchange.cancel_order(request.client_order_id, SYMBOL)).status is ExchangeStatus.OPEN


async def test_a_cancel_that_was_heard_but_whose_order_cannot_be_read_is_unknown(
    exchange: Robinhood, process: VenueProcess
) -> None:
    request = an_order()
    await exchange.create_order(request)
    process.faults({"what": "5xx_before", "method": "GET"})
    with pytest.raises(OutcomeUnknown, match="heard"):
        await exchange.cancel_order(request.client_order_id, SYMBOL)
    assert process.placed()[0].status == "CANCELED"


async def test_an_id_that_could_be_a_path_is_never_put_into_one(exchange: Robinhood, process: VenueProcess) -> None:
    exchange.know([("a" * 32, "../accounts")])
    with pytest.raises(Forbidden):
        await exchange.cancel_order("a" * 32, SYMBOL)
    assert set(process.books()["requests"]) == {f"GET {PAIRS}"}


async def test_fills_of_long_ago_are_not_told_again_with_new_ones_of_their_order() -> None:
    now = datetime.now(UTC)
    row = an_order_row(
        executions=[
            an_execution(timestamp=(now - timedelta(hours=3)).isoformat()),
            an_execution(timestamp=now.isoformat(), quantity="0.01"),
        ]
    )
    line = Scripted((ORDERS, {"results": [row], "next": None}))
    (fill,) = await on(line).fills_since(now - timedelta(seconds=30))
    assert fill.amount == Decimal("0.01")
    (query,) = [query for path, query in line.asked if path == ORDERS]
    assert query["updated_at_start"] == (now - timedelta(seconds=90)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_symbol_that_is_not_traded_is_no_market(process: VenueProcess) -> None:
    ours = open_exchange(an_opening(process.url, symbol="DOGE/USD"))
    with pytest.raises(ExchangeUnavailable, match="no market"):
        await ours.markets()
    await ours.close()


async def test_prices_include_the_spread_and_there_is_no_book(exchange: Robinhood) -> None:
    assert await exchange.ticker() == Ticker(SYMBOL, None, Decimal("39996.0000"), Decimal("40004.0000"))
    book = await exchange.book(5)
    assert (book.bids, book.asks) == ((), ())


def cash(amount: str) -> tuple[str, dict[str, str]]:
    return ACCOUNTS, {
        "buying_power": amount,
        "buying_power_currency": "USD",
        "account_number": "AB1",
        "status": "active",
    }


async def test_what_moved_while_balances_were_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_agent.exchanges.robinhood._BALANCE_PAUSE", 0.0)
    coins = (HOLDINGS, {"results": [{"asset_code": "BTC", "total_quantity": 0.5}], "next": None})
    line = Scripted(cash("1000"), cash("700.5"), cash("700.5"), coins)
    assert await on(line).balances() == {"USD": Decimal("700.5"), "BTC": Decimal("0.5")}
    line = Scripted(*(cash(str(amount)) for amount in range(9)), coins)
    with pytest.raises(ExchangeUnavailable, match="changed"):
        await on(line).balances()


async def test_an_open_buy_at_the_market_holds_nobody_knows_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_agent.exchanges.robinhood._BALANCE_PAUSE", 0.0)
    row = an_order_row(type="market", market_order_config={"asset_quantity": "0.01"})
    with pytest.raises(ExchangeUnavailable, match="changed"):
        await on(Scripted(cash("1000"), (ORDERS, {"results": [row], "next": None}))).balances()


async def test_what_open_buys_hold_of_dollars_is_counted_and_of_sells_it_is_anyway(exchange: Robinhood) -> None:
    await exchange.create_order(an_order())
    await exchange.create_order(an_order(side=Side.SELL, price=Decimal(50_000)))
    await exchange.create_order(an_order(type=OrderType.STOP, price=None, stop_price=Decimal(50_000)))
    assert await exchange.balances() == {"USD": Decimal(100_000), "BTC": Decimal(5)}
    await exchange.create_order(an_order(type=OrderType.MARKET, price=None))
    assert await exchange.balances() == {"USD": Decimal(99_600), "BTC": Decimal("5.01")}


async def test_prices_that_do_not_come_leave_a_gap_and_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SHORTEST", timedelta(seconds=1))
    price = {"symbol": "BTC-USD", "bid_inclusive_of_sell_spread": 99.5, "ask_inclusive_of_buy_spread": "100.5"}
    line = Scripted(
        (PRICES, ExchangeUnavailable("no price")), (PRICES, {"results": []}), (PRICES, {"results": [price]})
    )
    ours = on(line, timedelta(seconds=1))
    async with aclosing(cast(Any, ours.updates())) as updates, asyncio.timeout(20):
        first = await anext(updates)
    assert isinstance(first, Candle)
    assert (first.open, first.close, first.volume) == (Decimal(100), Decimal(100), Decimal(0))
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

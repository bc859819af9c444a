"""What every exchange has to keep, numbered: each case runs on each exchange's process, through the real port.

C01-C09 reading, C10-C19 orders, C20-C29 what goes wrong, C30-C39 the key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, getcontext
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from node_agent.core.market import Candle, ExchangeOrder, ExchangeStatus, Fill, OrderRequest, OrderType, Side
from node_agent.exchanges.catalogue import EXCHANGES, open_exchange, profile_of
from node_agent.exchanges.guard import Forbidden
from node_agent.exchanges.permissions import Judgement, judge
from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    RealExchange,
    Update,
)
from node_agent.exchanges.profile import KeyCheck
from tests.exchanges.cases import Case, case_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

SOON = 30.0


@dataclass
class Bench:
    """One exchange's process as new, and ours connected to it."""

    case: Case
    process: VenueProcess
    exchange: RealExchange

    @asynccontextmanager
    async def another(self, **key: str) -> AsyncIterator[RealExchange]:
        """The same account, opened anew: by a process that remembers nothing, or with another key."""
        opened = open_real(self.case, self.process, key={**self.case.key, **key})
        try:
            yield opened
        finally:
            await opened.close()

    async def settled(self, request: OrderRequest) -> ExchangeOrder:
        """The order, once it is no more open."""
        async with asyncio.timeout(SOON):
            while True:
                found = await self.exchange.find_order(request.client_order_id, request.symbol)
                if found is not None and found.status is not ExchangeStatus.OPEN:
                    return found
                await asyncio.sleep(0.05)

    async def fills_of(self, request: OrderRequest, amount: Decimal) -> list[Fill]:
        """Its fills, once they come to this amount."""
        async with asyncio.timeout(SOON):
            while True:
                fills = [
                    each
                    for each in await self.exchange.fills_since(datetime.now(UTC) - timedelta(minutes=5))
                    if each.client_order_id == request.client_order_id
                ]
                if sum((each.amount for each in fills), Decimal(0)) >= amount:
                    return fills
                await asyncio.sleep(0.05)

    def ours(self) -> int:
        """How many orders of ours the exchange has in its books, ended ones included."""
        return sum(not each.foreign for each in self.process.placed())


@dataclass
class Heard:
    """What a stream has told."""

    bench: Bench
    told: list[Update]
    more: asyncio.Event

    async def fills(self, request: OrderRequest) -> list[Update]:
        """The price comes to an order that rests; all that was told once its end is."""
        # Once for the half that somebody takes, and once for the other.
        self.bench.process.price(self.bench.case.dip)
        self.bench.process.price(self.bench.case.dip)
        await self.until(
            lambda each: (
                isinstance(each, ExchangeOrder)
                and (each.client_order_id, each.status) == (request.client_order_id, ExchangeStatus.FILLED)
            )
        )
        return self.told

    async def until(self, is_it: Callable[[Update], bool]) -> None:
        """Something like this is told."""
        async with asyncio.timeout(SOON):
            while not any(map(is_it, self.told)):
                self.more.clear()
                await self.more.wait()


@asynccontextmanager
async def followed(bench: Bench) -> AsyncIterator[Heard]:
    """The account's stream, from its first candle on."""
    heard = Heard(bench, [], asyncio.Event())

    async def follow() -> None:
        async for update in bench.exchange.updates():
            heard.told.append(update)
            heard.more.set()

    following = asyncio.create_task(follow())
    try:
        await heard.until(lambda each: isinstance(each, Candle))
        yield heard
    finally:
        following.cancel()
        await asyncio.wait((following,))


def open_real(case: Case, process: VenueProcess, key: Mapping[str, str] | None = None) -> RealExchange:
    return open_exchange(case.name, case.opening(process.url, key=key))


def rounds() -> tuple[str, dict[Any, bool]]:
    """How this process reckons with Decimals."""
    return getcontext().rounding, dict(getcontext().traps)


@pytest.fixture(scope="module", params=EXCHANGES)
def running(request: pytest.FixtureRequest) -> Iterator[tuple[Case, VenueProcess]]:
    case = case_of(request.param)
    with case.start() as process:
        yield case, process


@pytest_asyncio.fixture
async def bench(running: tuple[Case, VenueProcess]) -> AsyncIterator[Bench]:
    case, process = running
    process.reset()
    process.price(case.price)
    exchange = open_real(case, process)
    rounding = rounds()
    yield Bench(case, process, exchange)
    await exchange.close()
    assert rounds() == rounding  # ccxt, left alone, changes it


async def test_c01_the_symbols_rules_are_told(bench: Bench) -> None:
    markets = await bench.exchange.markets()
    market = markets[bench.case.symbol]
    assert market.tick_size > 0
    assert market.step_size > 0
    assert market.minimum_notional >= 0
    assert Decimal(bench.case.below) % market.tick_size == 0
    assert bench.case.amount_of() % market.step_size == 0
    assert set(markets) == {bench.case.symbol}


async def test_c02_our_clock_is_compared_with_the_exchanges(bench: Bench) -> None:
    offset = await bench.exchange.clock_offset()
    assert offset is None or abs(offset) < 2


async def test_c03_last_price_and_book_are_told_exactly(bench: Bench) -> None:
    ticker = await bench.exchange.ticker()
    book = await bench.exchange.book(5)
    assert ticker.symbol == book.symbol == bench.case.symbol
    prices = [price for price in (ticker.last, ticker.bid, ticker.ask) if price is not None]
    assert prices
    assert all(abs(price / Decimal(bench.case.price) - 1) < Decimal("0.1") for price in prices)
    assert len(book.bids) <= 5
    assert [each.price for each in book.bids] == sorted((each.price for each in book.bids), reverse=True)
    assert [each.price for each in book.asks] == sorted(each.price for each in book.asks)


async def test_c04_candles_have_the_length_that_was_asked_for(bench: Bench) -> None:
    candles = await bench.exchange.candles(None)
    assert all(isinstance(each, Candle) for each in candles)
    assert all(each.interval == bench.case.interval and each.symbol == bench.case.symbol for each in candles)
    assert [each.at for each in candles] == sorted(each.at for each in candles)
    assert all(each.low <= each.open <= each.high and each.low <= each.close <= each.high for each in candles)


async def test_c05_balances_count_what_orders_hold(bench: Bench) -> None:
    before = await bench.exchange.balances()
    await bench.exchange.create_order(bench.case.order())
    assert await bench.exchange.balances() == before
    assert all(amount > 0 for amount in before.values())


async def test_c06_the_owners_own_orders_are_seen_and_are_not_ours(bench: Bench) -> None:
    told = bench.process.foreign(
        symbol=bench.case.native, side="BUY", type="LIMIT", quantity=bench.case.amount, price=bench.case.below
    )
    assert told
    (listed,) = await bench.exchange.open_orders()
    assert listed.order.status is ExchangeStatus.OPEN
    assert (listed.side, listed.price) == (Side.BUY, Decimal(bench.case.below))
    assert listed.order.amount == bench.case.amount_of()


async def test_c07_recent_orders_are_told_open_or_ended(bench: Bench) -> None:
    resting, taken = bench.case.order(), bench.case.at_market()
    await bench.exchange.create_order(resting)
    await bench.exchange.create_order(taken)
    await bench.settled(taken)
    listed = await bench.exchange.recent_orders(datetime.now(UTC) - timedelta(hours=1))
    assert {each.client_order_id for each in listed} >= {resting.client_order_id, taken.client_order_id}


async def test_c10_an_order_rests_is_found_is_listed_and_is_cancelled(bench: Bench) -> None:
    request = bench.case.order()
    placed = await bench.exchange.create_order(request)
    assert (placed.client_order_id, placed.status) == (request.client_order_id, ExchangeStatus.OPEN)
    found = await bench.exchange.find_order(request.client_order_id, request.symbol)
    assert found is not None
    assert (found.exchange_order_id, found.status) == (placed.exchange_order_id, ExchangeStatus.OPEN)
    assert (found.amount, found.filled) == (request.amount, Decimal(0))
    (listed,) = await bench.exchange.open_orders()
    assert listed.order.client_order_id == request.client_order_id
    cancelled = await bench.exchange.cancel_order(request.client_order_id, request.symbol)
    assert cancelled.client_order_id == request.client_order_id
    assert (await bench.settled(request)).status is ExchangeStatus.CANCELLED
    assert not await bench.exchange.open_orders()


async def test_c11_the_same_request_twice_makes_no_second_open_order(bench: Bench) -> None:
    request = bench.case.order()
    first = await bench.exchange.create_order(request)
    second = await bench.exchange.create_order(request)
    assert second.exchange_order_id == first.exchange_order_id
    assert bench.ours() == 1


async def test_c12_a_market_order_fills_and_its_fills_are_ours(bench: Bench) -> None:
    request = bench.case.at_market()
    await bench.exchange.create_order(request)
    order = await bench.settled(request)
    assert (order.status, order.filled) == (ExchangeStatus.FILLED, request.amount)
    assert order.average_price is not None
    fills = await bench.fills_of(request, request.amount)
    assert sum(each.amount for each in fills) == request.amount
    assert {(each.side, each.symbol) for each in fills} == {(Side.BUY, bench.case.symbol)}
    assert len({each.trade_id for each in fills}) == len(fills)
    assert all(each.fee >= 0 and each.fee_currency for each in fills)
    assert all(abs((datetime.now(UTC) - each.at).total_seconds()) < 60 for each in fills)


async def test_c13_what_was_filled_stays_when_the_rest_is_cancelled(bench: Bench) -> None:
    request = bench.case.order()
    await bench.exchange.create_order(request)
    bench.process.touch(bench.case.dip, bench.case.price)
    await bench.fills_of(request, request.amount / 2)
    await bench.exchange.cancel_order(request.client_order_id, request.symbol)
    order = await bench.settled(request)
    assert (order.status, order.filled) == (ExchangeStatus.CANCELLED, request.amount / 2)


async def test_c14_who_comes_back_without_memory_finds_orders_and_fills(bench: Bench) -> None:
    resting, taken = bench.case.order(), bench.case.at_market()
    for request in (resting, taken):
        await bench.exchange.create_order(request)
    await bench.settled(taken)
    async with bench.another() as later:
        found = await later.find_order(resting.client_order_id, resting.symbol)
        assert found is not None
        assert found.status is ExchangeStatus.OPEN
        ended = await later.find_order(taken.client_order_id, taken.symbol)
        assert ended is not None
        assert ended.status is ExchangeStatus.FILLED
        fills = await later.fills_since(datetime.now(UTC) - timedelta(minutes=5))
        assert {each.client_order_id for each in fills} == {taken.client_order_id}
        assert {each.client_order_id for each in await later.fills_since(None)} == {taken.client_order_id}
        await later.cancel_order(resting.client_order_id, resting.symbol)
    assert (await bench.settled(resting)).status is ExchangeStatus.CANCELLED


async def test_c15_what_is_known_from_before_is_enough_to_cancel(bench: Bench) -> None:
    request = bench.case.order()
    placed = await bench.exchange.create_order(request)
    async with bench.another() as later:
        later.know([(request.client_order_id, placed.exchange_order_id)])
        await later.cancel_order(request.client_order_id, request.symbol)
    assert (await bench.settled(request)).status is ExchangeStatus.CANCELLED


async def test_c16_a_cancel_of_what_has_ended_tells_how_it_ended(bench: Bench) -> None:
    request = bench.case.at_market()
    await bench.exchange.create_order(request)
    await bench.settled(request)
    assert (await bench.exchange.cancel_order(request.client_order_id, request.symbol)).status is ExchangeStatus.FILLED


async def test_c17_a_cancel_of_what_never_was_is_refused(bench: Bench) -> None:
    with pytest.raises(OrderRefused):
        await bench.exchange.cancel_order(uuid4().hex, bench.case.symbol)


async def test_c18_a_stop_waits_for_its_price_or_is_refused_unsent(bench: Bench) -> None:
    request = bench.case.at_market(
        type=OrderType.STOP, side=Side.SELL, stop_price=Decimal(bench.case.below), price=None
    )
    if not bench.case.stops:
        before = bench.process.books()["requests"]
        with pytest.raises(OrderRefused, match="not sent"):
            await bench.exchange.create_order(request)
        assert bench.process.placed() == []
        assert {name for name in bench.process.books()["requests"] if name.startswith("POST")} <= set(before)
        return
    await bench.exchange.create_order(request)
    assert len(await bench.exchange.open_orders()) == 1
    bench.process.price(bench.case.dip)
    assert (await bench.settled(request)).status is ExchangeStatus.FILLED


async def test_c19_fills_are_told_before_the_change_that_they_cause(bench: Bench) -> None:
    request = bench.case.order()
    async with followed(bench) as heard:
        await bench.exchange.create_order(request)
        told = await heard.fills(request)
    filled = sum((each.amount for each in told if isinstance(each, Fill)), Decimal(0))
    assert filled == request.amount
    last = told[-1]
    assert isinstance(last, ExchangeOrder)
    assert last.client_order_id == request.client_order_id


@pytest.mark.parametrize("what", ["drop_after", "5xx_after", "garbage"])
async def test_c20_an_order_whose_answer_is_lost_is_found_and_was_sent_once(bench: Bench, what: str) -> None:
    await bench.exchange.markets()
    request = bench.case.order()
    bench.process.faults({"what": what, "method": "POST", "path": await _order_path(bench)})
    with pytest.raises(OutcomeUnknown):
        await bench.exchange.create_order(request)
    found = await bench.exchange.find_order(request.client_order_id, request.symbol)
    assert found is not None
    assert found.status is ExchangeStatus.OPEN
    assert bench.ours() == 1


async def test_c26_an_order_that_is_found_after_its_answer_was_lost_is_followed_like_any_other(bench: Bench) -> None:
    request = bench.case.order()
    path = await _order_path(bench)
    async with followed(bench) as heard:
        before = bench.case.order()
        await bench.exchange.create_order(before)
        await heard.fills(before)  # so that what is open was looked at, and nothing is
        bench.process.price(bench.case.price)
        bench.process.faults({"what": "drop_after", "method": "POST", "path": path})
        with pytest.raises(OutcomeUnknown):
            await bench.exchange.create_order(request)
        assert await bench.exchange.find_order(request.client_order_id, request.symbol) is not None
        told = await heard.fills(request)
    assert request.client_order_id in {each.client_order_id for each in told if isinstance(each, Fill)}


@pytest.mark.parametrize("what", ["drop_before", "5xx_before"])
async def test_c21_an_order_that_never_arrived_is_not_found_and_was_not_repeated(bench: Bench, what: str) -> None:
    await bench.exchange.markets()
    request = bench.case.order()
    path = await _order_path(bench)
    bench.process.faults({"what": what, "method": "POST", "path": path})
    before = bench.process.books()["requests"].get(f"POST {path}", 0)
    with pytest.raises((OutcomeUnknown, ExchangeUnavailable)):
        await bench.exchange.create_order(request)
    assert await bench.exchange.find_order(request.client_order_id, request.symbol) is None
    assert bench.process.books()["requests"][f"POST {path}"] == before + 1
    assert bench.ours() == 0


async def test_c22_an_order_that_cannot_be_paid_is_refused(bench: Bench) -> None:
    with pytest.raises(OrderRefused) as refused:
        await bench.exchange.create_order(bench.case.order(amount=bench.case.amount_of(bench.case.too_much)))
    assert not isinstance(refused.value, Forbidden)
    assert bench.ours() == 0


async def test_c23_a_wrong_key_is_told_as_such_and_orders_nothing(bench: Bench) -> None:
    async with bench.another(**bench.case.wrong) as stranger:
        with pytest.raises(KeyRefused) as refused:
            await stranger.create_order(bench.case.order())
        for secret in (*bench.case.key.values(), *bench.case.wrong.values()):
            assert secret not in str(refused.value)
    assert bench.ours() == 0


async def test_c24_a_lost_read_is_repeated_once(bench: Bench) -> None:
    await bench.exchange.markets()
    await bench.exchange.balances()
    bench.process.faults({"what": "drop_before", "times": 1})
    assert await bench.exchange.balances()


async def test_c25_nonsense_from_the_exchange_is_an_error_of_the_port(bench: Bench) -> None:
    await bench.exchange.markets()
    for what in ("garbage", "5xx_before"):
        bench.process.faults({"what": what, "times": 3})
        with pytest.raises(ExchangeError):
            await bench.exchange.balances()
    bench.process.faults()


async def test_c30_what_the_key_may_do_is_told_where_the_exchange_tells_it(bench: Bench) -> None:
    profile = profile_of(bench.case.name)
    told = await bench.exchange.key_permissions()
    if profile.key_check is not KeyCheck.ASKED:
        assert told is None
        return
    assert told is not None
    assert profile.rules is not None
    assert judge(profile.rules, told).accepted


async def test_what_is_told_of_its_orders_is_what_it_takes(bench: Bench) -> None:
    taken = {str(each) for each in bench.exchange.conduct.order_types}
    assert set(profile_of(bench.case.name).order_types) == taken


async def judged(bench: Bench, told: Mapping[str, Any] | None) -> Judgement:
    """What the profile says to a key of which this is told."""
    rules = profile_of(bench.case.name).rules
    assert rules is not None
    assert told is not None
    bench.process.permissions(**told)
    permissions = await bench.exchange.key_permissions()
    assert permissions is not None
    return judge(rules, permissions)


async def test_c31_a_key_that_can_take_money_out_is_refused(bench: Bench) -> None:
    if profile_of(bench.case.name).key_check is not KeyCheck.ASKED:
        assert bench.case.too_powerful is None
        return
    judgement = await judged(bench, bench.case.too_powerful)
    assert not judgement.accepted
    assert judgement.forbidden


async def test_c32_a_permission_that_nobody_knows_refuses_the_key(bench: Bench) -> None:
    if profile_of(bench.case.name).key_check is not KeyCheck.ASKED:
        return
    assert (await judged(bench, bench.case.stranger)).unknown


async def _order_path(bench: Bench) -> str:
    """Where this exchange takes new orders, as seen when one is placed and cancelled."""
    before = set(bench.process.books()["requests"])
    request = bench.case.order()
    await bench.exchange.create_order(request)
    posted: list[str] = [
        name.removeprefix("POST ")
        for name in bench.process.books()["requests"]
        if name.startswith("POST ") and name not in before and "cancel" not in name.lower()
    ]
    bench.process.reset()
    bench.process.price(bench.case.price)
    return next(path for path in posted if "order" in path.lower())

"""A start: what was left goes on by the owner's word of now, and what had to wait is judged by the time of now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any, cast

import pytest

from node_agent.core import events
from node_agent.core.events import CoreEvent
from node_agent.core.ids import order_of_command
from node_agent.core.market import Candle, ExchangeOrder, ExchangeStatus, Fill, OrderRequest, OrderType, Side
from node_agent.core.orders import OrderState
from node_agent.core.policy import NOTHING, Policy
from node_agent.exchange_keys import ExchangeKey
from node_agent.exchanges.binance import PROFILE
from node_agent.exchanges.port import ExchangeUnavailable, RealExchange
from node_agent.key_watch import KeyWatch
from node_agent.owner_files import OwnerFiles
from tests.node.bench import Bench
from tests.node.kept import Kept, kept, resting
from tests.node.test_key_watch import Asked
from tests.node.until import becomes
from tests.node.values import LIMITS, candle, fill, limits, place

pytestmark = pytest.mark.asyncio

BY_HAND = OrderRequest("0" * 32, "BTC/USD", Side.BUY, OrderType.MARKET, D("0.01"))


class Starting(Bench):
    """A node whose exchange is away, until it is let come back."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_back = asyncio.Event()
        self.shop.around = self._away

    async def _away(self, what: str) -> None:
        if what == "before markets":
            await self.is_back.wait()

    async def begins(self) -> None:
        """The exchange comes back, and the node begins."""
        before = self.types.count("node.started")
        self.is_back.set()
        await becomes(lambda: self.types.count("node.started") > before, "a start")

    async def taken(self) -> None:
        """All that was delivered before was looked at."""
        await self.runner.settle(events.OwnerPaused(self.clock(), "so"))
        await self.runner.settle(events.OwnerResumed(self.clock()))


@asynccontextmanager
async def starting(
    path: Path,
    candles: Sequence[Candle] = (candle(0, 40000),),
    news: Callable[[datetime], Iterable[CoreEvent]] = lambda at: (),
    policy: Policy = LIMITS,
    made: type[Starting] = Starting,
) -> AsyncIterator[Starting]:
    node = made(path, candles, policy, news)
    task = asyncio.create_task(node.runner.run())
    try:
        yield node
        node.runner.stop("the test is over")
        await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        node.journal.close()


async def waiting_order(path: Path) -> None:
    """A life that left a market order, which never reached the exchange."""
    async with starting(path) as node:

        async def down(what: str) -> None:
            if what == "before create":
                raise ExchangeUnavailable("503")

        node.shop.around = down
        node.is_back.set()
        await becomes(lambda: node.runner.state.prices, "a price")
        node.order()
        await becomes(lambda: [each for each in node.runner.state.live if each.state is OrderState.ACCEPTED], "it")
    assert node.shop.asked


# The owner's word of now.


async def test_what_a_start_would_send_again_is_not_sent_under_a_stop_file(tmp_path: Path) -> None:
    await waiting_order(tmp_path)
    (tmp_path / "STOP").touch()
    async with starting(tmp_path, news=OwnerFiles(tmp_path).news) as node:
        node.is_back.set()
        await becomes(lambda: node.types.count("node.started") == 2, "the second start")
        assert node.runner.state.live == []
    assert node.shop.asked == []


@pytest.mark.parametrize(
    ("news", "rules"),
    [
        (lambda at: events.PolicyRead(at, limits(symbols=frozenset())), []),
        (lambda at: events.PolicyUnreadable(at, "half a line"), ["policy_unreadable"]),
    ],
    ids=["changed", "unreadable"],
)
async def test_nor_by_limits_that_were_others_before_the_exchange_came_back(
    tmp_path: Path, news: Callable[[datetime], CoreEvent], rules: list[str]
) -> None:
    await waiting_order(tmp_path)
    is_new = True

    def once(at: datetime) -> Iterable[CoreEvent]:
        nonlocal is_new
        if is_new:
            is_new = False
            yield news(at)

    async with starting(tmp_path, news=once) as node:
        node.is_back.set()
        await becomes(lambda: node.types.count("node.started") == 2, "the second start")
        assert list(node.runner.state.pauses) == rules
        assert ("policy.changed" in node.types) is not bool(rules)
    assert node.shop.asked == []


async def test_a_start_without_limits_changes_none_and_halts_for_no_loss(tmp_path: Path) -> None:
    """As `stop --flatten` begins where policy.toml cannot be read."""
    node = kept(tmp_path)
    entry = resting(node, "a", amount="0.02")
    before = node.state.policy_digest
    node.restart(policy=NOTHING, unreadable="half a line", lookups={})
    node.fill(entry, "t1", 39000, D("0.01"))
    node.tick(1, 30000)
    assert list(node.state.pauses) == ["policy_unreadable"]
    assert node.state.policy_digest == before
    assert node.state.policy == NOTHING


async def test_a_stop_that_comes_just_as_the_start_ends_ends_the_node(tmp_path: Path) -> None:
    async with starting(tmp_path) as node:
        told = node.shop.open_orders

        async def told_at_last() -> Any:
            asyncio.get_running_loop().call_soon(node.runner.stop, "SIGTERM")
            return await told()

        node.shop.open_orders = told_at_last  # type: ignore[method-assign]
        node.is_back.set()
        await becomes(lambda: node.shop.closed, "the end")
    assert node.runner.state.stopping


# The time of now.


OLD_PRICES = limits(max_data_age=timedelta(days=999))


async def priced(path: Path) -> None:
    """A life that left a price."""
    async with starting(path) as node:
        node.is_back.set()
        await becomes(lambda: node.runner.state.prices, "a price")


async def test_a_command_that_expired_while_the_exchange_was_away_is_not_carried_out(tmp_path: Path) -> None:
    await priced(tmp_path)
    async with starting(tmp_path, policy=OLD_PRICES) as node:
        await node.taken()
        node.order()
        await node.taken()
        node.ahead = timedelta(minutes=6)
        node.is_back.set()
        await becomes(node.journal.done_commands, "the command")
        assert "command.expired" in node.types
    assert node.shop.asked == []


@pytest.mark.parametrize(("minutes", "state"), [(0, "filled"), (2, "refused")])
async def test_an_order_by_hand_waits_for_the_exchange_for_a_minute(tmp_path: Path, minutes: int, state: str) -> None:
    await priced(tmp_path)
    async with starting(tmp_path, policy=OLD_PRICES) as node:
        now = node.clock()
        wish = events.OwnerWants(now, "paper", BY_HAND, asked_at=now)
        asking = asyncio.create_task(node.runner.settle(wish))
        await node.taken()
        node.ahead = timedelta(minutes=minutes)
        node.is_back.set()
        await asking
        await becomes(lambda: f"order.{state}" in node.types or "intent.refused" in node.types, "the order")
        order = node.runner.state.orders[BY_HAND.client_order_id]
        assert order.state == state
        assert order.reason == (None if state == "filled" else "expired")


async def test_a_fill_that_comes_before_the_limits_are_known_waits_for_them(tmp_path: Path) -> None:
    """By no limits every loss would be too much, and by no rules no fee is in the base currency."""
    async with starting(tmp_path, [candle(0, 40000), candle(1, 38900)]) as node:
        node.is_back.set()
        await becomes(lambda: node.runner.state.prices.get("BTC/USD") == 38900, "the second price")
        placed = node.order(type="limit", price="38000", amount="0.02")
        await becomes(lambda: "order.open" in node.types, "the order")
    name = order_of_command(placed)
    async with starting(tmp_path, []) as node:
        order = ExchangeOrder(name, "x1", "BTC/USD", ExchangeStatus.OPEN, D("0.02"), D("0.01"))
        node.shop._keep(order)
        made = replace(fill(BY_HAND, "t9", 38000, D("0.01"), D("0.00001")), client_order_id=name, fee_currency="BTC")
        await node.runner.settle(events.OwnerCancels(node.clock(), name))
        node.runner.deliver(events.FillTold(node.clock(), made))
        await node.taken()
        assert "trade" not in node.types
        node.is_back.set()
        await becomes(lambda: "trade" in node.types, "the fill")
        assert node.runner.state.pauses == {}
        assert node.runner.state.holdings["BTC/USD"].amount == D("0.00999")


# The first price.


async def test_commands_that_wait_for_the_first_price_are_not_overtaken(tmp_path: Path) -> None:
    async with starting(tmp_path, []) as node:
        node.is_back.set()
        await becomes(lambda: node.runner.state.markets, "the start")
        placed = node.order()
        await node.taken()
        node.runner.deliver(events.CandleClosed(node.clock(), candle(0, 40000)))
        node.order("order.cancel", client_order_id=order_of_command(placed))
        await becomes(lambda: "order.submitting" in node.types, "the order")
        await node.taken()
        assert "command.refused" not in node.types


async def test_what_waits_for_the_first_price_is_judged_by_the_time_at_which_there_is_one(tmp_path: Path) -> None:
    async with starting(tmp_path, []) as node:
        node.is_back.set()
        await becomes(lambda: node.runner.state.markets, "the start")
        node.order()
        await node.taken()
        node.ahead = timedelta(minutes=6)
        node.runner.deliver(events.CandleClosed(node.clock(), candle(0, 40000)))
        await becomes(node.journal.done_commands, "the command")
        assert "command.expired" in node.types
    assert node.shop.asked == []


async def test_a_slow_start_leaves_the_market_its_time_to_tell_a_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_agent.runner._FIRST_PRICE_SECONDS", 2.0)
    async with starting(tmp_path, []) as node:
        node.order()
        await node.taken()
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(2.1, passed.set)
        await passed.wait()
        node.is_back.set()
        await becomes(lambda: node.runner.state.markets, "the start")
        node.runner.deliver(events.CandleClosed(node.clock(), candle(0, 40000)))
        await becomes(lambda: "order.filled" in node.types, "the order")


class Counted(Starting):
    """A node of which it is written down what it asks the exchange at its start."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[str] = []
        self.since: list[datetime | None] = []
        self.shop.fills_since = self._fills_since  # type: ignore[method-assign]

    async def _away(self, what: str) -> None:
        self.asked.append(what)
        await super()._away(what)

    async def _fills_since(self, at: datetime | None) -> Sequence[Fill]:
        self.since.append(at)
        return ()


async def test_orders_that_are_told_to_be_open_are_not_asked_for_one_by_one(tmp_path: Path) -> None:
    """Thirty questions before the first candle may be more than an exchange answers in a minute."""
    node = kept(tmp_path)
    requests = [resting(node, f"o{number}", amount="0.001") for number in range(3)]
    node.order(place("lost", "buy", "0.001", type="limit", price="39000"))
    node.journal.close()
    async with starting(tmp_path, made=Counted) as begun:
        assert isinstance(begun, Counted)
        for request in requests:
            await begun.shop.create_order(request)
        begun.asked.clear()
        await begun.begins()
        assert begun.asked.count("before find") == 1
        open_ = {order.client_order_id for order in begun.runner.state.live if order.state is OrderState.OPEN}
        assert open_ == {request.client_order_id for request in requests}


async def test_a_start_asks_for_fills_from_the_first_order_on_and_not_for_all_that_ever_were(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    async with starting(tmp_path, made=Counted) as first:
        await first.begins()
        assert isinstance(first, Counted)
        assert first.since[0] is not None
        assert first.since[0] >= before
    node = kept(tmp_path)
    resting(node, "first")
    node.journal.close()
    async with starting(tmp_path, made=Counted) as second:
        await second.begins()
        assert isinstance(second, Counted)
        assert second.since[0] == node.state.market_at


async def test_an_order_that_was_refused_has_no_fills_to_be_asked_for(tmp_path: Path) -> None:
    node = Kept(tmp_path)
    assert node.order(place("early")) == []  # there is no price yet
    node.tick(0, 40000)
    resting(node, "first")
    node.journal.close()
    async with starting(tmp_path, made=Counted) as begun:
        await begun.begins()
        assert isinstance(begun, Counted)
        assert begun.since[0] == node.state.market_at


async def bought(path: Path) -> None:
    """A life that left a position."""
    async with starting(path) as node:
        await node.begins()
        await becomes(lambda: node.runner.state.prices, "a price")
        node.order()
        await becomes(lambda: node.runner.state.holdings, "a position")


@pytest.mark.parametrize("second_thought", ["resume", "the file is gone"])
async def test_a_start_that_did_not_wait_sends_nothing_new_before_the_key_is_judged(
    tmp_path: Path, second_thought: str
) -> None:
    by_command = second_thought == "resume"
    await (bought if by_command else waiting_order)(tmp_path)
    node = Starting(tmp_path)
    file = not by_command
    admitted = asyncio.Event()
    watch = KeyWatch(
        cast(RealExchange, Asked(ExchangeUnavailable("away"))),
        PROFILE,
        ExchangeKey(PROFILE.name, {}, node.clock(), None),
        note=lambda _: None,
        deliver=node.runner.deliver,
        clock=node.clock,
        winding_up=lambda: file or node.runner.state.windup is not None,
    )

    async def admit() -> None:
        await watch.admit()
        admitted.set()

    node.runner._admit = admit
    node.runner.add("watch of the key", watch.run)
    task = asyncio.create_task(node.runner.run())
    try:
        if by_command:
            node.runner.deliver(events.OwnerWants(node.clock(), "paper", BY_HAND))
            stop = events.OwnerStops(node.clock(), flatten=True, then_end=False, reason="enough")
            await node.runner.settle(stop)
        await admitted.wait()
        file = False
        if by_command:
            await node.runner.settle(events.OwnerResumed(node.clock()))
        await node.begins()
        await node.taken()
        assert node.shop.asked == []
        assert "key_rejected" in node.runner.state.pauses
    finally:
        node.runner.stop("the test is over")
        await asyncio.wait([task])
        node.journal.close()

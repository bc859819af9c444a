"""The desk: what its own clock says of a lost request, and how long it waits after a break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from node_agent.core.effects import LookFor, Submit
from node_agent.core.events import Failure, LookedFor
from node_agent.core.market import Conduct, ExchangeStatus, OrderRequest, OrderType, Side, TimeInForce
from node_agent.core.orders import Order, OrderState
from node_agent.desk import Desk
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused, OutcomeUnknown, TooSmall, Update
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import candle

pytestmark = pytest.mark.asyncio

ORDER = OrderRequest("0" * 32, "BTC/USD", Side.BUY, OrderType.MARKET, D("0.01"))


class Late(Shop):
    """A shop at which a request may still arrive for a moment, and that answers none."""

    settles_within = timedelta(seconds=6)

    @property
    def conduct(self) -> Conduct:
        return Conduct(settles_within=self.settles_within, ids_unique_for_ever=False)


async def lost(what: str) -> None:
    if what == "before create":
        raise OutcomeUnknown("no answer")


class Watch:
    """A clock that nobody sets, and that the test lets go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    ours = Watch()
    monkeypatch.setattr("node_agent.desk.time", ours)
    return ours


async def test_a_clock_that_steps_forward_does_not_make_a_lost_order_settled(watch: Watch) -> None:
    """The core goes by the wall clock, which somebody may set; twice the order would be twice the money."""
    told: list[Any] = []
    shop = Late(":memory:", [])
    shop.around = lost
    desk = Desk(shop, deliver=told.append, clock=lambda: datetime.now(UTC) + timedelta(hours=1) * len(told))
    watch.now += 60
    await desk.ask(Submit(ORDER))
    watch.now += 5.9
    await desk.ask(LookFor(ORDER.client_order_id, ORDER.symbol))
    assert told[-1].lookup.unsure == "what was sent may still arrive"
    watch.now += 0.1
    await desk.ask(LookFor(ORDER.client_order_id, ORDER.symbol))
    assert (told[-1].lookup.order, told[-1].lookup.unsure) == (None, None)


async def test_what_an_earlier_process_sent_may_arrive_after_this_one_began(watch: Watch) -> None:
    told: list[Any] = []
    desk = Desk(Late(":memory:", []), deliver=told.append, clock=lambda: datetime.now(UTC))
    for seconds, unsure in ((5.9, "what was sent may still arrive"), (0.1, None)):
        watch.now += seconds
        await desk.ask(LookFor(ORDER.client_order_id, ORDER.symbol))
        assert told[-1].lookup.unsure == unsure


async def test_who_looks_for_an_order_that_is_being_looked_for_has_that_answer(watch: Watch) -> None:
    """Thirty orders that end together are asked for once each, however often the account is surveyed meanwhile."""
    told: list[Any] = []
    asked: list[str] = []
    answers = asyncio.Event()
    shop = Late(":memory:", [])

    async def slow(what: str) -> None:
        asked.append(what)
        await answers.wait()

    shop.around = slow
    desk = Desk(shop, deliver=told.append, clock=lambda: datetime.now(UTC))
    look = LookFor(ORDER.client_order_id, ORDER.symbol)
    first = asyncio.create_task(desk.ask(look))
    await becomes(lambda: asked, "the first look")
    await desk.ask(look)
    answers.set()
    await first
    assert (asked, len(told)) == (["before find"], 1)
    await desk.ask(look)
    assert (asked, len(told)) == (["before find"] * 2, 2)


class Breaking(Shop):
    """A stream that breaks after each candle, or at once."""

    breaks = 0

    async def updates(self) -> AsyncIterator[Update]:
        self.breaks += 1
        if self.candles:
            yield candle(self.breaks, 40000)
        raise ExchangeUnavailable("a time-out")


@pytest.mark.parametrize(("works", "waits"), [(True, [1.0] * 4), (False, [1.0, 2.0, 4.0, 8.0])])
async def test_breaks_are_waited_out_longer_only_when_nothing_came_between_them(
    works: bool, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("node_agent.desk._wait", wait)
    monkeypatch.setattr("node_agent.desk.random.random", lambda: 1.0)
    shop = Breaking(":memory:", [candle(0, 40000)] if works else [])
    desk = Desk(shop, deliver=lambda event: None, clock=lambda: datetime.now(UTC))

    async def taken() -> None:
        return None

    def live() -> tuple[tuple[()], None]:
        if len(waited) == len(waits):
            raise KeyboardInterrupt  # enough was seen
        return (), None

    with pytest.raises(KeyboardInterrupt):
        await desk.follow(taken=taken, live=live)
    assert waited == waits


async def test_after_a_break_every_order_is_asked_for_and_what_is_told_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def wait(seconds: float) -> None:
        return None

    monkeypatch.setattr("node_agent.desk._wait", wait)
    told: list[Any] = []
    looked: list[str] = []
    shop = Breaking(":memory:", [])
    listed, ended = resting_order("1" * 32), resting_order("2" * 32)
    await shop.create_order(listed.request())
    await shop.create_order(ended.request())
    await shop.cancel_order(ended.client_order_id, ended.symbol)

    async def around(what: str) -> None:
        looked.append(what)

    shop.around = around
    desk = Desk(shop, deliver=told.append, clock=lambda: datetime.now(UTC))
    rounds = 0

    def live() -> tuple[tuple[Order, ...], None]:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise KeyboardInterrupt  # enough was seen
        return (listed, ended), None

    async def taken() -> None:
        return None

    with pytest.raises(KeyboardInterrupt):
        await desk.follow(taken=taken, live=live)
    looks = [(each.client_order_id, each.lookup.order) for each in told if isinstance(each, LookedFor)]
    stands = {name: order and order.status for name, order in looks}
    assert stands == {"1" * 32: ExchangeStatus.OPEN, "2" * 32: ExchangeStatus.CANCELLED}
    assert looked.count("before find") == 1


@pytest.mark.parametrize(("error", "failure"), [(TooSmall, Failure.TOO_SMALL), (OrderRefused, Failure.REFUSED)])
async def test_a_refusal_for_its_size_is_told_apart(error: type[OrderRefused], failure: Failure) -> None:
    told: list[Any] = []
    shop = Shop(":memory:", [])

    async def refuse(what: str) -> None:
        raise error("no")

    shop.around = refuse
    await Desk(shop, deliver=told.append, clock=lambda: datetime.now(UTC)).ask(Submit(ORDER))
    assert [each.failure for each in told] == [failure]


def resting_order(name: str) -> Order:
    return Order(
        name,
        "paper",
        "BTC/USD",
        Side.BUY,
        OrderType.LIMIT,
        D("0.01"),
        D(39000),
        None,
        TimeInForce.GTC,
        False,
        datetime.now(UTC),
        datetime.now(UTC),
        datetime.now(UTC),
        state=OrderState.OPEN,
    )

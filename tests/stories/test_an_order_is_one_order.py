"""Stories of orders that nobody was sure of: bought twice, taken for cancelled, sent while banned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.market import Conduct, ExchangeStatus, OrderRequest
from node_agent.core.orders import OrderState
from node_agent.exchanges.port import OutcomeUnknown, RateLimited
from tests.node.kept import Kept, kept, resting, sent
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import START, fill, limits, place, state_of, told
from tests.stories.lives import PRICE, SHOP_FILE, life

S = ExchangeStatus
LATE = Conduct(settles_within=timedelta(seconds=60), ids_unique_for_ever=False)
"""An exchange on which a request may arrive a minute after it was sent."""


# 1. A time-out was in truth an accepted order, and the retry bought twice.


@pytest.mark.asyncio
async def test_a_time_out_that_was_an_accepted_order_is_adopted_and_not_bought_again(tmp_path: Path) -> None:
    """ccxt/ccxt#2599: a bot took time-outs for orders that had not gone through; more often than not they had.

    ccxt/ccxt#7411: a cable pulled after the exchange took the order leaves its owner without the order's id.
    scrtlabs/catalyst#317: the same order was placed again after such a time-out, and bought twice.
    """
    async with life(tmp_path) as node:

        async def lose(what: str) -> None:
            if what == "after create":
                raise OutcomeUnknown("Read timed out")

        node.shop.around = lose
        node.order("a")
        unknown = await node.until("order.unknown")
        assert unknown["reason"] == "Read timed out"
        await node.until("order.filled")
        assert len(node.shop.asked) == len(node.shop.orders()) == len(node.told("trade")) == 1
        assert node.runner.state.holdings["BTC/USD"].amount == node.shop.fills()[0].amount


@pytest.mark.asyncio
async def test_a_request_that_arrives_after_it_was_looked_for_is_found_later_and_not_sent_again(tmp_path: Path) -> None:
    """ccxt/ccxt#2599, on an exchange so slow that the order came after the time-out, and after a first look."""

    class Slow(Shop):
        @property
        def conduct(self) -> Conduct:
            return LATE

    shop = Slow(tmp_path / SHOP_FILE, [PRICE])
    looks = 0

    async def late(what: str) -> None:
        nonlocal looks
        if what == "before create":
            raise OutcomeUnknown("Read timed out")
        if what == "before find" and shop.asked:
            looks += 1
            if looks == 2:
                (order,) = node.runner.state.live
                shop._trade(order.request())

    async with life(tmp_path, shop) as node:
        shop.around = late
        node.order("a")
        await node.until("order.filled")
        assert looks >= 2
        assert len(shop.asked) == len(shop.orders()) == len(node.told("trade")) == 1


def lost(node: Kept) -> OrderRequest:
    """An order whose outcome is unknown since START."""
    (request,) = node.order(place("a"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNKNOWN, "Read timed out"))
    return request


def looked(node: Kept, request: OrderRequest, after: float) -> list[OrderRequest]:
    """The exchange does not find it, so many seconds after START; what is sent for that."""
    at = START + timedelta(seconds=after)
    return sent(node.take(events.LookedFor(at, request.client_order_id, Lookup(None))))


def test_not_found_is_believed_only_when_nothing_can_arrive_any_more_and_then_sent_once(tmp_path: Path) -> None:
    """ccxt/ccxt#1880: whoever saw no open order after a time-out took it for never made; it had filled and closed.

    Where an id is free again once its order has ended, asking again then buys twice.
    """
    node = kept(tmp_path, conduct=LATE)
    request = lost(node)
    for seconds in (0, 1, 30, 59.9):
        assert looked(node, request, seconds) == []
        assert state_of(node, request) is OrderState.UNKNOWN
        assert effects.LookFor(request.client_order_id, "BTC/USD") in node.take(
            events.Due(START + timedelta(seconds=seconds), request.client_order_id)
        )
    assert node.refused_by(place("b")) == "unknown_order"
    assert looked(node, request, 60) == [request]
    assert looked(node, request, 60) == []


def test_the_minute_begins_anew_when_it_was_sent_anew(tmp_path: Path) -> None:
    """As above: the second request may be as late as the first was."""
    node = kept(tmp_path, conduct=LATE)
    request = lost(node)
    assert looked(node, request, 60) == [request]
    later = START + timedelta(seconds=70)
    node.take(events.SubmitFailed(later, request.client_order_id, Failure.UNKNOWN, "Read timed out"))
    assert looked(node, request, 129) == []
    assert looked(node, request, 130) == [request]


def test_a_restart_does_not_forget_since_when_it_is_lost_and_does_not_send_it_early(tmp_path: Path) -> None:
    """As above, with a bot that its owner restarts because an order hangs."""
    node = kept(tmp_path, conduct=LATE)
    request = lost(node)
    node.after(30)
    assert sent(node.restart(lookups={request.client_order_id: Lookup(None)})) == []
    assert looked(node, request, 59) == []
    assert looked(node, request, 60) == [request]


def test_an_order_that_was_being_sent_when_the_node_died_may_still_arrive(tmp_path: Path) -> None:
    """As above, killed between the request and its answer: nobody knows when the request left."""
    node = kept(tmp_path, conduct=LATE)
    (request,) = node.order(place("a"))
    node.after(10)
    assert sent(node.restart(lookups={request.client_order_id: Lookup(None)})) == []
    assert looked(node, request, 69) == []
    assert looked(node, request, 70) == [request]


# 3. An order that the exchange did not find at start was taken for cancelled.


@pytest.mark.parametrize("found", [S.FILLED, S.CANCELLED])
def test_an_order_that_is_not_found_at_start_is_not_taken_for_cancelled(tmp_path: Path, found: ExchangeStatus) -> None:
    """freqtrade/freqtrade#6392: a stop's order was answered with 404 and assumed to have disappeared; it had filled.

    The maintainer tells there of another exchange on which such orders showed up again minutes later.
    """
    node = kept(tmp_path)
    entry = resting(node, "entry")
    node.restart(lookups={entry.client_order_id: Lookup(None)})
    assert state_of(node, entry) is OrderState.UNKNOWN
    assert node.last("order.unknown")["reason"] == "the exchange does not find it"
    assert "order.cancelled" not in node.told_types
    assert node.refused_by(place("b")) == "unknown_order"
    for _ in range(5):
        assert effects.LookFor(entry.client_order_id, "BTC/USD") in node.take(
            events.Due(node.after(30), entry.client_order_id)
        )
        assert sent(node.take(events.LookedFor(node.now, entry.client_order_id, Lookup(None)))) == []
    node.take(events.LookedFor(node.now, entry.client_order_id, Lookup(told(entry, found))))
    if found is S.FILLED:
        node.fill(entry, "t1", 39000)
        assert node.state.holdings["BTC/USD"].amount == entry.amount
        assert node.told_types[-2:] == ["trade", "order.filled"]
    assert state_of(node, entry).value == found.value
    assert len(node.order(place("c"), after=200)) == 1


def test_what_fills_while_it_is_lost_counts_though_the_exchange_still_does_not_find_it(tmp_path: Path) -> None:
    """freqtrade/freqtrade#6392, as the exchange's list of trades saw it."""
    node = kept(tmp_path)
    entry = resting(node, "entry")
    node.restart(lookups={entry.client_order_id: Lookup(None)}, fills=(fill(entry, "t1", 39000),))
    assert state_of(node, entry) is OrderState.FILLED
    assert node.state.holdings["BTC/USD"].amount == entry.amount


# 12. Banned for its request rate.


@pytest.mark.asyncio
async def test_an_order_is_held_while_the_exchange_bans_us_and_sent_once_when_it_does_not(tmp_path: Path) -> None:
    """Drakkar-Software/OctoBot#2108: with many coins the bot was banned by the exchange, and asked on."""
    async with life(tmp_path) as node:
        bans = 1

        async def banned(what: str) -> None:
            nonlocal bans
            if what == "before create" and bans:
                bans -= 1
                raise RateLimited("way too much request weight used", datetime.now(UTC) + timedelta(seconds=1))

        node.shop.around = banned
        node.order("a")
        await becomes(lambda: [each for each in node.runner.state.live if each.state is OrderState.ACCEPTED], "held")
        assert "order.rejected" not in [event.type for event in node.events]
        await node.until("order.filled")
        assert len(node.shop.asked) == 2
        assert len(set(node.shop.asked)) == len(node.shop.orders()) == len(node.told("trade")) == 1


def held(node: Kept, **data: Any) -> OrderRequest:
    """An order that surely did not reach the exchange."""
    (request,) = node.order(place("a", **data))
    node.take(events.SubmitFailed(node.now, request.client_order_id, Failure.UNAVAILABLE, "banned"))
    assert state_of(node, request) is OrderState.ACCEPTED
    return request


def tried(node: Kept, request: OrderRequest, seconds: float = 1) -> list[OrderRequest]:
    """What is sent when its next try is due."""
    return sent(node.take(events.Due(node.after(seconds), request.client_order_id)))


@pytest.mark.parametrize("seconds", [1, 299, 300])
def test_a_held_order_is_sent_as_long_as_it_is_wanted(tmp_path: Path, seconds: int) -> None:
    """Drakkar-Software/OctoBot#2108: the ban ends, the order is a minute late, and still in its time."""
    node = kept(tmp_path)
    request = held(node)
    assert tried(node, request, seconds) == [request]


def test_a_held_order_is_never_sent_after_its_time(tmp_path: Path) -> None:
    """Drakkar-Software/OctoBot#2108: the ban outlasts what the order was meant for."""
    node = kept(tmp_path)
    request = held(node)
    assert tried(node, request, 301) == []
    assert state_of(node, request) is OrderState.CANCELLED
    assert "its time is over" in node.last("order.cancelled")["reason"]
    assert tried(node, request) == []


def test_a_held_order_waits_longer_each_time(tmp_path: Path) -> None:
    """Drakkar-Software/OctoBot#2108: asking on at once is what bots are banned for."""
    node = kept(tmp_path)
    request = held(node)
    waits = []
    for _ in range(6):
        tried(node, request, 0)
        wanted = node.take(events.SubmitFailed(node.now, request.client_order_id, Failure.UNAVAILABLE, "banned"))
        waits += [each.seconds for each in wanted if isinstance(each, effects.After)]
    assert waits == [2, 4, 8, 16, 30, 30]


def test_a_held_order_is_judged_anew_before_it_is_sent(tmp_path: Path) -> None:
    """Drakkar-Software/OctoBot#2108: the world went on while the bot was banned."""
    node = kept(tmp_path)
    request = held(node)
    node.take(events.OwnerPaused(node.now, "so"))
    assert tried(node, request) == []
    assert "paused_by_owner refuses it now" in node.last("order.cancelled")["reason"]


def test_a_held_order_does_not_count_against_itself_when_it_is_judged_anew(tmp_path: Path) -> None:
    """As above: one order a minute, and 400 in all, allow it once and so allow it now."""
    node = kept(tmp_path, policy=limits(orders_per_minute=1, orders_per_day=1, max_open_notional=400))
    request = held(node)
    assert tried(node, request) == [request]


def test_a_held_order_whose_price_has_run_away_is_given_up(tmp_path: Path) -> None:
    """As above, with a limit that is now worse than the owner's collar allows."""
    node = kept(tmp_path)
    request = held(node, type="limit", price="41000", amount="0.01")
    node.tick(1, 30000)
    assert tried(node, request) == []
    assert "price_collar refuses it now" in node.last("order.cancelled")["reason"]


def test_a_held_order_is_held_over_a_restart_and_nothing_impossible_is_said_of_it(tmp_path: Path) -> None:
    """As above, restarted in the ban: sent in its time, and once."""
    node = kept(tmp_path)
    request = held(node)
    node.after(10)
    assert sent(node.restart()) == [request]
    assert "node.note" not in node.told_types


def test_a_held_order_whose_time_ended_while_no_node_ran_is_given_up_at_the_next_start(tmp_path: Path) -> None:
    """As above, restarted the next morning."""
    node = kept(tmp_path)
    request = held(node)
    node.after(3600)
    assert sent(node.restart(lookups={request.client_order_id: Lookup(None)})) == []
    assert state_of(node, request) is OrderState.CANCELLED

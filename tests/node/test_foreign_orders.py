"""Orders on the account that this node did not place: seen, said once, counted, left alone, and forgotten when gone."""

from __future__ import annotations

from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from node_agent.core import effects, events
from node_agent.core.market import ExchangeOrder, ExchangeStatus, OpenOrder, OrderRequest, Side
from node_agent.core.orders import OrderState
from tests.node.kept import cancelled, kept, protecting, resting, sent
from tests.node.values import START, Node, fill, place, ready, state_of, told

S = ExchangeStatus


def foreign(
    number: int = 1,
    *,
    side: Side = Side.BUY,
    amount: str = "0.02",
    price: str | None = "39000",
    symbol: str = "BTC/USD",
    filled: str = "0",
    client_order_id: str = "web-1",
) -> OpenOrder:
    """An order that somebody placed on the exchange's own pages, or by another bot."""
    order = ExchangeOrder(client_order_id, f"theirs-{number}", symbol, S.OPEN, D(amount), D(filled))
    return OpenOrder(order, side, None if price is None else D(price))


def ours(request: OrderRequest) -> OpenOrder:
    """One of this node's orders, as the exchange lists it."""
    return OpenOrder(told(request, S.OPEN), request.side, request.price)


def listed(node: Node, *orders: OpenOrder) -> tuple[effects.Effect, ...]:
    """The exchange tells all open orders of the account."""
    return node.take(events.OpenOrdersTold(node.now, orders))


def test_an_order_that_is_not_ours_is_said_once() -> None:
    node = ready()
    listed(node, foreign())
    assert node.last("node.note")["text"] == (
        "an order that this node did not place is open on the account, and is left alone: buy 0.02 BTC/USD at 39000"
    )
    assert listed(node, foreign()) == ()


def test_an_order_without_a_client_order_id_or_a_price_is_seen_too() -> None:
    node = ready()
    listed(node, foreign(1, client_order_id="", price=None), foreign(2, client_order_id=""))
    assert sorted(node.state.foreign) == ["theirs-1", "theirs-2"]
    assert node.told_types.count("node.note") == 2


def test_our_own_orders_are_not_foreign() -> None:
    node = ready()
    entry = resting(node, "entry")
    assert listed(node, ours(entry)) == ()


@pytest.mark.parametrize(
    ("limit", "most"),
    [("max_open_notional", 1180), ("max_position_notional", 1180), ("max_total_notional", 1180)],
)
def test_their_orders_count_into_the_limits(limit: str, most: int) -> None:
    """0.02 at 40000, the dearer of its price and the last, are 800; 0.01 more come to 1200."""
    changes: dict[str, Any] = {limit: D(most)}
    node = ready(**changes)
    listed(node, foreign())
    assert node.refused_by(place("a")) == limit
    listed(node)
    assert len(node.order(place("b"))) == 1


def test_they_count_at_the_dearer_of_their_price_and_the_last() -> None:
    node = ready(max_open_notional=D(1200))
    listed(node, foreign(price="41000"))
    assert node.refused_by(place("a")) == "max_open_notional"


def test_what_of_them_has_filled_counts_no_more() -> None:
    node = ready(max_open_notional=D(1180))
    listed(node, foreign(filled="0.01"))
    assert len(node.order(place("a"))) == 1


def test_of_another_symbol_they_count_into_the_total_alone() -> None:
    node = ready(max_position_notional=D(1000), max_total_notional=D(1180))
    node.tick(0, 2000, "ETH/USD")
    listed(node, foreign(symbol="ETH/USD", amount="0.4", price="2000"))
    assert node.refused_by(place("a")) == "max_total_notional"
    assert len(node.order(place("b", amount="0.009"))) == 1


def test_they_do_not_hold_back_an_exit() -> None:
    node = ready(max_open_notional=D(900))
    node.bought("a", "0.02", 40000)
    listed(node, foreign(1, side=Side.SELL), foreign(2))
    assert len(node.order(place("b", "sell", "0.02", reduce_only=True))) == 1


def test_they_are_left_alone_by_the_kill_switch() -> None:
    node = ready()
    entry = resting(node, "entry")
    listed(node, ours(entry), foreign())
    wanted = node.take(events.OwnerStops(START, flatten=True, then_end=True, reason="so"))
    assert cancelled(wanted) == [entry.client_order_id]
    wanted = node.take(events.OrderTold(START, told(entry, S.CANCELLED)))
    assert cancelled(wanted) == []
    assert any(isinstance(each, effects.End) for each in wanted)
    listed(node, foreign())
    assert cancelled(tuple(node.done)) == [entry.client_order_id]


def test_they_are_left_alone_when_trading_is_halted() -> None:
    node = ready()
    listed(node, foreign())
    assert cancelled(node.take(events.KeyRefused(START, "expired"))) == []


def test_a_fill_of_theirs_is_no_position_of_ours() -> None:
    node = ready()
    listed(node, foreign())
    theirs = OrderRequest("web-1", "BTC/USD", Side.BUY, node.order(place("a"))[0].type, D("0.02"))
    node.take(events.FillTold(START, fill(theirs, "t1", 39000)))
    assert "BTC/USD" not in node.state.holdings


def test_they_are_written_down_for_whoever_asks_and_go_with_the_exchanges_word(tmp_path: Path) -> None:
    node = kept(tmp_path)
    listed(node, foreign())
    assert node.journal.fact("foreign") == [
        {
            "exchange_order_id": "theirs-1",
            "client_order_id": "web-1",
            "symbol": "BTC/USD",
            "side": "buy",
            "amount": "0.02",
            "filled": "0",
            "price": "39000",
        }
    ]
    listed(node)
    assert node.journal.fact("foreign") == []


def test_they_count_from_the_first_moment_of_the_next_start(tmp_path: Path) -> None:
    node = kept(tmp_path)
    listed(node, foreign(), foreign(2, price=None, side=Side.SELL))
    before = node.state.foreign
    node.restart()
    assert node.state.foreign == before
    notes = node.told_types.count("node.note")
    listed(node, foreign(), foreign(2, price=None, side=Side.SELL))
    assert node.told_types.count("node.note") == notes


# Ours, and not as our books have them.


def test_an_open_order_of_ours_that_is_not_listed_is_looked_for() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    entry, stop = resting(node, "entry"), protecting(node)
    wanted = listed(node, ours(entry))
    assert wanted == (effects.LookFor(stop.client_order_id, "BTC/USD"),)
    assert state_of(node, stop) is OrderState.OPEN


def test_an_order_that_is_on_its_way_is_not_missed() -> None:
    node = ready()
    node.order(place("a", type="limit", price="39000"))
    assert listed(node) == ()


def test_an_order_that_ended_here_and_is_open_there_is_cancelled_when_it_is_seen_twice() -> None:
    node = ready()
    entry = resting(node, "entry")
    node.tell(entry, S.CANCELLED)
    assert listed(node, ours(entry)) == ()
    wanted = listed(node, ours(entry))
    assert cancelled(wanted) == [entry.client_order_id]
    assert "it is cancelled there" in node.last("node.note")["text"]


def test_it_is_cancelled_again_at_each_look_and_said_once() -> None:
    node = ready()
    entry = resting(node, "entry")
    node.tell(entry, S.CANCELLED)
    wanted = [cancelled(listed(node, ours(entry))) for _ in range(4)]
    assert wanted == [[], *[[entry.client_order_id]] * 3]
    assert node.told_types.count("node.note") == 1


def test_an_end_that_the_list_only_missed_is_no_matter() -> None:
    node = ready()
    entry = resting(node, "entry")
    node.tell(entry, S.CANCELLED)
    listed(node, ours(entry))
    listed(node)
    assert listed(node, ours(entry)) == ()
    assert sent(tuple(node.done)) == [entry]


def test_a_cancel_that_the_exchange_took_and_did_not_carry_out_is_sent_again(tmp_path: Path) -> None:
    node = kept(tmp_path)
    entry = resting(node, "a")
    node.take(events.OwnerCancels(node.now, entry.client_order_id))
    assert state_of(node, entry) is OrderState.CANCELLING
    again = [cancelled(listed(node, ours(entry))) == [entry.client_order_id] for _ in range(8)]
    assert again == [False, True, False, True, False, False, False, True]

"""Dust: what the market takes no order for is left and named, and ends a flatten; what it would take is none."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

from node_agent import at_rest
from node_agent.core import events
from node_agent.core.events import Failure
from node_agent.core.market import ExchangeStatus
from node_agent.core.orders import OrderState
from node_agent.core.risk import is_dust
from node_agent.core.windup import open_work
from tests.node.kept import ends, kept, sent, stops
from tests.node.values import ETH, START, fill, place, ready, state_of

S = ExchangeStatus


def test_dust_is_left_and_named() -> None:
    node = ready()
    request = node.order(place("a"))[0]
    node.fill(request, "t1", 40000, D("0.0002"))
    node.tell(request, S.CANCELLED, D("0.0002"))
    wanted = stops(node, flatten=True)
    assert sent(wanted) == []
    assert ends(wanted)
    assert open_work(node.state).dust == {"BTC/USD": D("0.0002")}
    assert node.last("node.note")["text"].endswith("positions left: 0.0002 BTC/USD")


def test_what_a_fee_leaves_over_is_dust_and_not_sold_again() -> None:
    node = ready()
    request = node.order(place("a"))[0]
    made = replace(fill(request, "t1", 40000, fee=D("0.00001")), fee_currency="BTC")
    node.take(events.FillTold(START, made))
    (exit_,) = sent(stops(node, flatten=True))
    assert exit_.amount == D("0.0099")
    assert ends(node.take(events.FillTold(START, fill(exit_, "t2", 40000))))
    assert node.last("node.note")["text"].endswith("positions left: 0.00009 BTC/USD")


def test_what_is_below_the_least_amount_is_dust_whatever_it_is_worth() -> None:
    assert is_dust(D("0.005"), ETH, D(2000))
    assert is_dust(D("-0.0059"), ETH, D(2000))
    assert not is_dust(D("0.006"), ETH, D(2000))


def test_what_the_exchange_takes_no_order_for_is_dust_though_its_rules_do_not_tell(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    wanted = node.take(events.SubmitFailed(node.now, exit_.client_order_id, Failure.TOO_SMALL, "BELOW_MIN_ORDER_SIZE"))
    assert state_of(node, exit_) is OrderState.REJECTED
    assert node.state.windup is None
    assert ends(wanted)
    assert open_work(node.state).dust == {"BTC/USD": D("0.02")}
    assert at_rest.restored(node.journal).markets["BTC/USD"].minimum_amount > D("0.02")


def test_an_order_that_was_too_small_by_its_own_price_makes_no_position_dust(tmp_path: Path) -> None:
    """A server may bid for much at next to nothing: that is refused, and 800 dollars are to be closed all the same."""
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (bid,) = node.order(place("b", amount="1.2", type="limit", price="10"))
    node.take(events.SubmitFailed(node.now, bid.client_order_id, Failure.TOO_SMALL, "cost minimum not met"))
    wanted = stops(node, flatten=True)
    assert [each.amount for each in sent(wanted)] == [D("0.02")]
    assert not ends(wanted)


def test_more_of_it_than_the_exchange_refused_is_sold(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True, then_end=False))
    node.take(events.SubmitFailed(node.now, exit_.client_order_id, Failure.TOO_SMALL, "BELOW_MIN_ORDER_SIZE"))
    node.take(events.OwnerResumed(node.now))
    node.bought("b", "0.0201", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    assert exit_.amount == D("0.0401")

"""A file STOP in the data directory: what it stops, what it closes, and that what it began ends with it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path

from node_agent.core import effects, events
from node_agent.core.market import ExchangeStatus, OrderRequest, Side
from node_agent.core.policy import OnSilence
from node_agent.core.state import STOP_FILE, Trading
from tests.node.kept import cancelled, kept, protecting, resting, sent, stop_file, stops, ticked
from tests.node.values import START, Node, limits, place, ready, told

S = ExchangeStatus


def test_a_stop_file_cancels_what_is_open_and_ends_nothing() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    entry = resting(node, "entry")
    assert cancelled(stop_file(node)) == [entry.client_order_id]
    wanted = node.take(events.OrderTold(START, told(entry, S.CANCELLED)))
    assert not any(isinstance(each, effects.End | effects.Submit) for each in wanted)
    assert node.state.windup is None
    assert node.refused_by(place("b")) == STOP_FILE


def test_a_stop_file_that_says_flatten_closes_positions_too() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stop_file(node, flatten=True))
    assert (exit_.side, exit_.amount) == (Side.SELL, D("0.02"))
    node.fill(exit_, "t2", 40000)
    assert node.state.windup is None
    assert not any(isinstance(each, effects.End) for each in node.done)


def test_a_stop_file_into_which_flatten_is_written_later_closes_then() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    assert sent(stop_file(node)) == []
    assert len(sent(stop_file(node, flatten=True))) == 1


def test_trading_goes_on_when_the_file_is_gone() -> None:
    node = ready()
    stop_file(node)
    stop_file(node, there=False)
    assert node.last("node.resumed") == {"by": "owner", "rule": "stop_file"}
    assert len(node.order(place("a"))) == 1


def test_resume_does_not_lift_a_file_that_is_there() -> None:
    node = ready()
    stop_file(node)
    node.take(events.OwnerResumed(START))
    assert node.refused_by(place("a")) == STOP_FILE


def test_a_file_that_is_still_there_at_the_next_start_does_not_begin_anew(tmp_path: Path) -> None:
    node = kept(tmp_path)
    stop_file(node)
    assert node.state.windup is None
    node.restart()
    assert stop_file(node) == ()
    assert node.state.trading is Trading.HALTED


def test_a_file_that_went_while_no_process_ran_stops_nothing(tmp_path: Path) -> None:
    node = kept(tmp_path)
    stop_file(node)
    node.restart()
    stop_file(node, there=False)
    assert node.state.trading is Trading.ACTIVE


def begun_by_a_file(node: Node) -> OrderRequest:
    """A file STOP that says flatten came, and an order that is still to be cancelled."""
    node.bought("a", "0.02", 40000)
    stop = protecting(node, amount="0.02")
    node.take(events.StopFile(START, there=True, flatten=True))
    return stop


def test_what_a_file_began_is_called_off_when_the_file_goes() -> None:
    node = ready()
    stop = begun_by_a_file(node)
    node.take(events.StopFile(START, there=False))
    assert node.state.windup is None
    assert sent(node.take(events.OrderTold(START, told(stop, S.CANCELLED)))) == []
    assert node.state.holdings["BTC/USD"].amount == D("0.02")


def test_a_file_that_goes_calls_nothing_off_that_the_owner_wants_by_command() -> None:
    node = ready()
    stop = begun_by_a_file(node)
    stops(node)
    node.take(events.StopFile(START, there=False))
    assert len(sent(node.take(events.OrderTold(START, told(stop, S.CANCELLED))))) == 1


def test_a_file_that_was_never_there_calls_nothing_off() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    stops(node, flatten=True)
    node.take(events.StopFile(START, there=False))
    assert node.state.windup is not None


def test_a_file_is_taken_back_though_new_risk_is_stopped_for_other_reasons(tmp_path: Path) -> None:
    """A stop that is long done, and a silent server that nobody wants orders cancelled for."""
    policy = limits(server_silence=timedelta(minutes=10))
    node = kept(tmp_path, policy=policy, reports_to_server=True)
    node.bought("a", "0.02", 40000)
    stops(node, then_end=False)
    assert node.state.windup is None
    ticked(node, 601)
    assert sorted(node.state.pauses) == ["server_silence", "stopped_by_owner"]
    node.take(events.StopFile(node.now, there=True, flatten=True))
    node.restart()
    node.take(events.StopFile(node.now, there=False))
    assert node.state.windup is None


def test_a_file_that_goes_calls_nothing_off_that_silence_began(tmp_path: Path) -> None:
    policy = limits(server_silence=timedelta(minutes=10), on_server_silence=OnSilence.FLATTEN)
    node = kept(tmp_path, policy=policy, reports_to_server=True)
    node.bought("a", "0.02", 40000)
    node.take(events.StopFile(node.now, there=True))
    ticked(node, 601)
    node.take(events.StopFile(node.now, there=False))
    assert node.state.windup is not None

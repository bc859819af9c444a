"""What only passing time tells: a silent server, prices that have grown old, a clock that is off."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest

from node_agent.core import effects, events
from node_agent.core.market import ExchangeStatus
from node_agent.core.orders import OrderState
from node_agent.core.policy import OnSilence, Policy
from node_agent.core.state import Trading
from tests.node.kept import Kept, cancelled, kept, protecting, resting, sent
from tests.node.values import START, Node, candle, limits, place, ready, state_of

MINUTES = timedelta(minutes=1)


def silence(on: OnSilence = OnSilence.PAUSE, minutes: int = 10) -> Policy:
    """Limits under which the server may be silent for ten minutes."""
    return limits(server_silence=minutes * MINUTES, on_server_silence=on)


def watched(data_dir: Path, on: OnSilence = OnSilence.PAUSE, *, registered: bool = True) -> Kept:
    """A node with a position, an entry and a stop, whose server was heard at START."""
    node = kept(data_dir, policy=silence(on), reports_to_server=registered)
    node.bought("a", "0.02", 40000)
    resting(node, "entry")
    protecting(node)
    node.take(events.ServerSeen(START))
    return node


def ticked(node: Kept, seconds: float) -> tuple[effects.Effect, ...]:
    """Some seconds pass."""
    return node.take(events.Tick(node.after(seconds)))


# The server is silent.


def test_a_silent_server_stops_new_risk_once_and_no_exit(tmp_path: Path) -> None:
    node = watched(tmp_path)
    assert ticked(node, 600) == ()
    wanted = ticked(node, 1)
    assert cancelled(wanted) == []
    assert node.last("node.paused") == {
        "by": "rule",
        "rule": "server_silence",
        "reason": "no word from the server for more than 600 s: no new risk is taken",
    }
    assert ticked(node, 1) == ()
    assert node.state.trading is Trading.REDUCING
    assert node.refused_by(place("b", lives=3600)) == "server_silence"
    assert len(node.order(place("c", "sell", lives=3600))) == 1


def test_a_server_that_is_heard_again_lets_trading_go_on(tmp_path: Path) -> None:
    node = watched(tmp_path)
    ticked(node, 601)
    node.take(events.ServerSeen(node.now))
    assert node.last("node.resumed") == {"by": "rule", "rule": "server_silence"}
    assert ticked(node, 600) == ()
    ticked(node, 1)
    assert node.told_types.count("node.paused") == 2


def test_every_word_of_the_server_begins_the_count_anew(tmp_path: Path) -> None:
    node = watched(tmp_path)
    for _ in range(5):
        ticked(node, 599)
        node.take(events.ServerSeen(node.now))
    assert "node.paused" not in node.told_types


def test_open_orders_are_cancelled_when_the_owner_wants_that(tmp_path: Path) -> None:
    node = watched(tmp_path, OnSilence.CANCEL_OPEN)
    wanted = ticked(node, 601)
    assert len(cancelled(wanted)) == 2
    assert sent(wanted) == []
    for order in node.state.live:
        node.tell(order.request(), ExchangeStatus.CANCELLED)
    assert node.state.holdings["BTC/USD"].amount == D("0.02")
    assert not any(isinstance(each, effects.End) for each in node.done)


def test_positions_are_closed_when_the_owner_wants_that(tmp_path: Path) -> None:
    node = watched(tmp_path, OnSilence.FLATTEN)
    ticked(node, 601)
    for order in node.state.live:
        node.tell(order.request(), ExchangeStatus.CANCELLED)
    (exit_,) = [each for each in sent(tuple(node.done)) if each.reduce_only and each.stop_price is None]
    assert exit_.amount == D("0.02")
    node.fill(exit_, "t9", 40000)
    assert node.state.windup is None
    assert not any(isinstance(each, effects.End) for each in node.done)


@pytest.mark.parametrize("on", OnSilence)
def test_a_node_without_a_server_misses_none(tmp_path: Path, on: OnSilence) -> None:
    node = watched(tmp_path, on, registered=False)
    assert ticked(node, 3000) == ()


def test_an_owner_who_sets_no_time_waits_for_ever(tmp_path: Path) -> None:
    node = kept(tmp_path, reports_to_server=True)
    assert ticked(node, 3000) == ()


def test_silence_is_counted_over_a_restart(tmp_path: Path) -> None:
    node = watched(tmp_path)
    node.journal.put_fact("last_sync_at", "2026-01-05T09:00:00Z")
    node.after(500)
    node.restart()
    assert "node.paused" not in node.told_types
    ticked(node, 101)
    assert node.last("node.paused")["rule"] == "server_silence"


def test_the_servers_clock_does_not_count(tmp_path: Path) -> None:
    node = watched(tmp_path)
    node.journal.put_facts({"last_sync_at": "2026-01-05T09:30:00Z", "clock_offset": 1800})
    node.restart(server_ahead=timedelta(minutes=30))
    assert ticked(node, 599) == ()
    ticked(node, 2)
    assert node.last("node.paused")["rule"] == "server_silence"


def test_a_pause_for_silence_outlives_the_process_until_the_server_is_heard(tmp_path: Path) -> None:
    node = watched(tmp_path)
    ticked(node, 601)
    node.restart()
    assert node.refused_by(place("b", lives=3600), after=601) == "server_silence"
    node.take(events.ServerSeen(node.now))
    assert node.state.trading is Trading.ACTIVE


def test_an_owner_who_lets_the_server_be_silent_trades_on(tmp_path: Path) -> None:
    node = watched(tmp_path)
    ticked(node, 601)
    node.take(events.PolicyRead(node.now, limits(server_silence=None)))
    ticked(node, 1)
    assert node.last("node.resumed") == {"by": "rule", "rule": "server_silence"}


# Prices are old.


def test_an_old_price_is_said_once_and_so_is_the_new_one() -> None:
    node = ready(max_data_age=10 * MINUTES)
    node.take(events.CandleClosed(START, candle(0, 2000, "ETH/USD")))
    node.take(events.Tick(START + 10 * MINUTES))
    assert "node.note" not in node.told_types
    node.take(events.CandleClosed(START + 10 * MINUTES, candle(1, 2000, "ETH/USD")))
    for seconds in (1, 2, 3):
        node.take(events.Tick(START + 10 * MINUTES + timedelta(seconds=seconds)))
    notes = [each.data["text"] for each in node.reports if each.type == "node.note"]
    assert notes == ["the last price of BTC/USD is older than 600 s: no new risk is taken on it"]
    node.take(events.CandleClosed(START + 11 * MINUTES, candle(2, 40000)))
    node.take(events.Tick(START + 11 * MINUTES))
    node.take(events.Tick(START + 12 * MINUTES))
    assert node.last("node.note")["text"] == "BTC/USD has a price of now again"
    assert node.told_types.count("node.note") == 2


def test_no_new_risk_is_taken_on_an_old_price_and_a_position_is_closed_all_the_same() -> None:
    node = ready(max_data_age=2 * MINUTES)
    node.bought("a", "0.02", 40000)
    assert node.refused_by(place("b"), after=121) == "market_data_age"
    assert len(node.order(place("c", "sell"), after=121)) == 1
    node.take(events.CandleClosed(START + 3 * MINUTES, candle(1, 40000)))
    assert len(node.order(place("d"), after=181)) == 1


def test_one_symbol_with_an_old_price_does_not_hold_up_another() -> None:
    node = ready(max_data_age=2 * MINUTES)
    node.take(events.CandleClosed(START + 2 * MINUTES, candle(1, 2000, "ETH/USD")))
    assert node.refused_by(place("a"), after=150) == "market_data_age"
    assert len(node.order(place("b", symbol="ETH/USD", amount="0.1"), after=150)) == 1


def test_a_candle_of_a_live_exchange_that_comes_late_is_as_old_as_its_close() -> None:
    node = Node(limits(max_data_age=2 * MINUTES))
    node.take(events.Started(START, "0.1.0", "live", "paper", limits(max_data_age=2 * MINUTES), node.state.markets))
    node.take(events.CandleClosed(START + 5 * MINUTES, candle(0, 40000)))
    assert node.refused_by(place("a", lives=3600), after=300) == "market_data_age"


# Our clock is off.


@pytest.mark.parametrize(("ahead", "way"), [(2.5, "ahead of"), (-2.5, "behind")])
def test_a_clock_that_is_off_either_way_stops_new_risk_until_it_is_right(ahead: float, way: str) -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    entry = resting(node, "entry")
    node.take(events.ClockCompared(START, ahead))
    assert node.last("node.paused") == {
        "by": "rule",
        "rule": "clock_drift",
        "reason": f"this machine's clock is 2.5 s {way} the exchange's, the most is 2 s",
    }
    assert node.state.trading is Trading.REDUCING
    assert state_of(node, entry) is OrderState.OPEN
    assert node.refused_by(place("b")) == "clock_drift"
    assert len(node.order(place("c", "sell"))) == 1
    assert node.take(events.ClockCompared(START, ahead)) == ()
    node.take(events.ClockCompared(START, ahead / 2))
    assert node.last("node.resumed") == {"by": "rule", "rule": "clock_drift"}


@pytest.mark.parametrize("ahead", [2.0, -2.0, 0.0])
def test_a_clock_that_is_off_by_no_more_than_allowed_stops_nothing(ahead: float) -> None:
    assert ready().take(events.ClockCompared(START, ahead)) == ()


# The day is over.


def test_on_a_live_exchange_the_day_ends_without_a_candle() -> None:
    node = ready(daily_loss=D(20))
    node.take(events.Started(START, "0.1.0", "live", "paper", limits(daily_loss=D(20)), node.state.markets))
    node.bought("a", "0.02", 40000)
    node.tick(1, 39000)
    assert node.state.trading is Trading.HALTED
    node.take(events.Tick(START + timedelta(hours=14, minutes=59)))
    assert node.state.trading is Trading.HALTED
    node.take(events.Tick(START + timedelta(hours=15)))
    assert node.last("node.resumed") == {"by": "rule", "rule": "daily_loss"}


def test_a_process_that_begins_after_a_long_night_waits_for_the_first_word(tmp_path: Path) -> None:
    """While none ran nobody listened: the silence was ours."""
    node = watched(tmp_path, OnSilence.FLATTEN)
    node.journal.put_fact("last_sync_at", "2026-01-05T09:00:00Z")
    node.after(8 * 3600)
    node.restart()
    ticked(node, 30)
    assert "node.paused" not in node.told_types
    ticked(node, 1)
    assert node.last("node.paused")["rule"] == "server_silence"


def test_a_first_word_is_waited_for_no_longer_than_silence_is_allowed(tmp_path: Path) -> None:
    policy = limits(server_silence=timedelta(seconds=10))
    node = kept(tmp_path, policy=policy, reports_to_server=True)
    node.journal.put_fact("last_sync_at", "2026-01-05T08:00:00Z")
    node.restart()
    ticked(node, 10)
    assert "node.paused" not in node.told_types
    ticked(node, 1)
    assert node.last("node.paused")["rule"] == "server_silence"

"""Stories of bots that did not stop: orders placed while they ended, entries alone stopped, dust sold for ever."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from node_agent import facts
from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.market import ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.core.orders import OrderState
from node_agent.core.windup import open_work
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.owner_files import STOP_FILE
from node_agent.strategies import MaTrend
from node_protocol.encoding import parse_time
from tests.node.kept import Kept, cancelled, kept, protecting, resting, sent
from tests.node.values import START, Node, candle, command, place, state_of, told
from tests.support import NodeDir, NodeProcess, until

S = ExchangeStatus
TREND = MaTrend("BTC/USD", fast=1, slow=2, notional=D(250))
BY_HAND = OrderRequest("0" * 32, "BTC/USD", Side.BUY, OrderType.MARKET, D("0.001"))


def trending(data_dir: Path) -> Kept:
    """A node whose strategy buys at the next higher price; one order waits to be sent, of another nobody is sure."""
    node = Kept(data_dir, strategies=(TREND,))
    node.tick(0, 2000, "ETH/USD")
    node.tick(0, 40000)
    node.tick(1, 39900)
    held, lost = node.order(place("held", amount="0.001"), place("lost", symbol="ETH/USD", amount="0.1"))
    node.take(events.SubmitFailed(START, held.client_order_id, Failure.UNAVAILABLE, "away"))
    node.take(events.SubmitFailed(START, lost.client_order_id, Failure.UNKNOWN, "timed out"))
    return node


def whoever_asks(node: Node) -> dict[str, list[OrderRequest]]:
    """Strategy, server, owner by hand and what was not sent yet: what is sent for each."""
    held, lost, *_ = node.state.orders
    asked: dict[str, events.CoreEvent] = {
        "a strategy": events.CandleClosed(node.now, candle(2, 40100)),
        "the server": events.CommandsArrived((place("late", amount="0.001"),), node.now),
        "the owner by hand": events.OwnerWants(node.now, "paper", BY_HAND),
        "what waited": events.Due(node.now, held),
        "what was in doubt": events.LookedFor(node.now, lost, Lookup(None)),
    }
    return {who: sent(node.take(event)) for who, event in asked.items()}


def seen(node: NodeDir) -> list[tuple[str, dict[str, Any]]]:
    """Type and data of every event of a node."""
    with Journal.open_read_only(node.path / JOURNAL_FILE) as journal:
        return [(event.type, dict(event.data)) for event in journal.pending_events(limit=-1)]


def number_of(node: NodeDir, type_: str) -> int:
    """How many events of a type there are."""
    return [each for each, _ in seen(node)].count(type_)


def market_time(node: NodeDir) -> datetime:
    """Up to when it has seen its market."""
    with Journal.open_read_only(node.path / JOURNAL_FILE) as journal:
        return parse_time(journal.fact("market")["at"])


def quick(parent: Path) -> NodeDir:
    """A node on a recording that rises and falls every four minutes."""
    prices = [40000 + 100 * abs(minute % 8 - 4) for minute in range(20_000)]
    rows = [f"{START + timedelta(minutes=n):%Y-%m-%d %H:%M:%S},{p},{p},{p},{p},1000" for n, p in enumerate(prices)]
    candles = parent / "candles.csv"
    candles.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    return NodeDir.made(parent, candles=candles)


def running(node: NodeDir) -> NodeProcess:
    """It trades ten times a second, every four of its minutes."""
    return NodeProcess(node, "--speed", "3000", NODE_STRATEGY__FAST="1", NODE_STRATEGY__SLOW="2")


# 4. New orders were placed during shutdown.


def test_whoever_asks_gets_an_order_while_nothing_is_stopped(tmp_path: Path) -> None:
    """That the tests below do not hold for want of somebody who asks."""
    assert {who: len(made) for who, made in whoever_asks(trending(tmp_path)).items()} == {
        "a strategy": 1,
        "the server": 1,
        "the owner by hand": 1,
        "what waited": 1,
        "what was in doubt": 1,
    }


def test_no_new_order_is_placed_once_the_node_is_stopping_whoever_asks(tmp_path: Path) -> None:
    """hummingbot/hummingbot#8075: after `exit` the orders were cancelled, and new ones were placed while it ended."""
    node = trending(tmp_path)
    node.take(events.Stopping(START, "SIGTERM"))
    assert not any(whoever_asks(node).values())
    assert node.told_types[-1] != "intent.refused"


@pytest.mark.parametrize("flatten", [False, True])
def test_no_new_order_is_placed_while_orders_are_cancelled_and_closed_whoever_asks(
    tmp_path: Path, flatten: bool
) -> None:
    """hummingbot/hummingbot#8075, #1508: the bot was told to stop, and went on placing orders."""
    node = trending(tmp_path)
    resting(node, "entry", amount="0.001")
    node.take(events.OwnerStops(START, flatten, then_end=True, reason="so"))
    assert not any(whoever_asks(node).values())
    assert node.state.windup is not None


def test_what_a_stopping_node_did_not_take_is_taken_at_the_next_start(tmp_path: Path) -> None:
    """hummingbot/hummingbot#8075: not placed is not forgotten."""
    node = trending(tmp_path)
    late = place("late", amount="0.001")
    node.journal.record_answer(ticket="t", acked_through=0, commands=[late], at=START)
    node.take(events.Stopping(START, "SIGTERM"))
    assert node.order(late) == []
    assert node.journal.commands_not_done() == [late]
    node.restart()
    assert len(node.order(*node.journal.commands_not_done())) == 1


def test_a_process_that_is_told_to_end_places_nothing_after_it_has_said_so(tmp_path: Path) -> None:
    """hummingbot/hummingbot#8075, by a real process in the midst of its trading."""
    node = quick(tmp_path)
    with running(node) as process:
        until(lambda: number_of(node, "order.filled") >= 4 or None, "some trades")
        assert process.stop()[0] == 0
    types = [type_ for type_, _ in seen(node)]
    assert "order.submitting" not in types[types.index("node.stopping") :]


def test_a_process_with_a_file_that_says_flatten_sells_what_it_holds_and_buys_no_more(tmp_path: Path) -> None:
    """hummingbot/hummingbot#1508, by a real process: the owner's last resort is a file."""
    node = quick(tmp_path)
    with running(node) as process:
        until(lambda: number_of(node, "order.filled") >= 3 or None, "some trades")
        (node.path / STOP_FILE).write_text("flatten\n")
        until(lambda: number_of(node, "node.note") or None, "the end of it")
        begun = market_time(node)
        until(lambda: market_time(node) > begun + timedelta(minutes=30) or None, "half an hour of its market more")
        assert node.status()["trading"] == "halted"
        assert process.stop()[0] == 0
    told = seen(node)
    stopped = next(at for at, (type_, data) in enumerate(told) if data.get("rule") == "stop_file")
    assert {data["side"] for type_, data in told[stopped:] if type_ == "order.submitting"} <= {"sell"}
    (note,) = [data["text"] for type_, data in told if type_ == "node.note"]
    assert note.endswith("positions left: nothing")
    assert node.status()["positions"] == {}


# 8. "Stop" stopped entries only.


def protected(data_dir: Path) -> tuple[Kept, OrderRequest, OrderRequest]:
    """A node that holds 0.02, with an entry and a stop open."""
    node = kept(data_dir)
    node.bought("a", "0.02", 40000)
    return node, resting(node, "entry"), protecting(node, amount="0.02")


def test_pause_stops_entries_leaves_the_rest_and_says_so(tmp_path: Path) -> None:
    """freqtrade/freqtrade#907: after a stop in a crash, open orders stayed on the exchange and filled there.

    freqtrade/freqtrade#4023: with `/stop` nothing could be sold any more, without it the bot bought on.
    """
    node, entry, stop = protected(tmp_path)
    assert cancelled(node.take(events.OwnerPaused(START, "holidays"))) == []
    assert node.refused_by(place("b")) == "paused_by_owner"
    assert facts.of_trading(node.state)["trading"] == "reducing"
    left = facts.of_work(node.state)
    assert [each["client_order_id"] for each in left["orders"]] == [entry.client_order_id, stop.client_order_id]
    assert left["positions"] == {"BTC/USD": "0.02"}
    node.order(command("c", "order.cancel", client_order_id=stop.client_order_id))
    node.tell(stop, S.CANCELLED)
    assert len(node.order(place("exit", "sell", "0.02", reduce_only=True))) == 1


def test_stop_cancel_open_cancels_every_order_and_leaves_the_position_and_says_so(tmp_path: Path) -> None:
    """freqtrade/freqtrade#907: what its owners asked for."""
    node, entry, stop = protected(tmp_path)
    wanted = node.take(events.OwnerStops(START, flatten=False, then_end=True, reason="so"))
    assert cancelled(wanted) == [entry.client_order_id, stop.client_order_id]
    node.tell(entry, S.CANCELLED)
    wanted = node.take(events.OrderTold(START, told(stop, S.CANCELLED)))
    assert any(isinstance(each, effects.End) for each in wanted)
    assert sent(wanted) == []
    assert node.last("node.note")["text"] == "no order of this node is open any more; positions left: 0.02 BTC/USD"


def test_stop_flatten_closes_the_position_too(tmp_path: Path) -> None:
    """freqtrade/freqtrade#228, #4023: selling all and stopping, for bots bought again while they sold."""
    node, entry, stop = protected(tmp_path)
    node.take(events.OwnerStops(START, flatten=True, then_end=True, reason="so"))
    node.tell(entry, S.CANCELLED)
    (exit_,) = sent(node.take(events.OrderTold(START, told(stop, S.CANCELLED))))
    assert (exit_.side, exit_.amount) == (Side.SELL, D("0.02"))
    node.fill(exit_, "t2", 39000)
    assert any(isinstance(each, effects.End) for each in node.done)
    assert open_work(node.state).positions == {}


# 9. Positions too small to sell were retried for ever.


def test_a_position_too_small_to_sell_is_not_sold_again_and_again(tmp_path: Path) -> None:
    """freqtrade/freqtrade#7586: crypto-dust kept trades open.

    freqtrade/freqtrade#12322: an exit filled in part, the rest was below the exchange's least, and the bot, with room
    for one trade alone, was stuck trying to sell it.
    """
    node = Kept(tmp_path, strategies=(TREND,))
    for minute, price in enumerate((40000, 39900, 40100)):
        node.tick(minute, price)
    (entry,) = sent(tuple(node.done))
    node.fill(entry, "t1", 40100)
    (exit_,) = sent(node.tick(3, 39900))
    node.fill(exit_, "t2", 39900, exit_.amount - D("0.0002"))
    node.tell(exit_, S.EXPIRED, exit_.amount - D("0.0002"))
    before = len(node.reports)
    for minute in range(4, 24):
        assert sent(node.tick(minute, 39900 - minute)) == []
    assert not any(each.type == "intent.refused" for each in node.reports[before:])
    assert facts.of_work(node.state)["dust"] == {"BTC/USD": "0.0002"}


def test_dust_that_has_become_worth_selling_is_sold(tmp_path: Path) -> None:
    """freqtrade/freqtrade#7586: dust is a state and not a fate."""
    node = kept(tmp_path)
    (entry,) = node.order(place("a"))
    node.fill(entry, "t1", 40000, D("0.0002"))
    node.tell(entry, S.CANCELLED, D("0.0002"))
    assert open_work(node.state).dust
    node.tick(1, 50000)
    assert open_work(node.state).dust == {}
    assert len(sent(node.take(events.OwnerStops(START, flatten=True, then_end=True, reason="so")))) == 1


def test_flatten_ends_though_there_is_dust_and_names_it(tmp_path: Path) -> None:
    """freqtrade/freqtrade#7586: the position that could not be closed held up everything else."""
    node = kept(tmp_path)
    (entry,) = node.order(place("a"))
    node.fill(entry, "t1", 40000, D("0.0002"))
    node.tell(entry, S.CANCELLED, D("0.0002"))
    wanted = node.take(events.OwnerStops(START, flatten=True, then_end=True, reason="so"))
    assert sent(wanted) == []
    assert any(isinstance(each, effects.End) for each in wanted)
    assert node.last("node.note")["text"].endswith("positions left: 0.0002 BTC/USD")
    assert state_of(node, entry) is OrderState.CANCELLED

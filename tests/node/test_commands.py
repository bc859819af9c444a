"""What the server asks for: once, in its time, in its order, and no further than the owner's limits let it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D

import pytest

from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.ids import order_of_command
from node_agent.core.market import Conduct, ExchangeStatus, OrderRequest, OrderType
from node_protocol.messages import Command
from tests.node.values import START, Node, candle, command, place, ready, told

S = ExchangeStatus


def test_a_command_is_carried_out_once_whatever_comes() -> None:
    node = ready()
    same = place("a")
    assert len(node.order(same, same)) == 1
    assert node.order(same) == []
    assert node.order(place("a", amount="0.02")) == []


def test_the_orders_id_comes_from_the_commands() -> None:
    (request,) = ready().order(place("a"))
    assert request.client_order_id == order_of_command("cmd_a")
    assert len(request.client_order_id) == 32
    assert set(request.client_order_id) <= set("0123456789abcdef")


def test_an_expired_command_is_told_and_not_carried_out() -> None:
    node = ready()
    assert node.order(place("a"), after=300) == []
    assert node.last("command.expired") == {"command_id": "cmd_a", "rule": "expired"}
    assert len(node.order(place("b"), after=299)) == 1


def test_a_refused_order_is_told_twice_in_one_append() -> None:
    node = ready()
    append, *rest = node.take(events.CommandsArrived((place("a", amount="1"),), START))
    assert isinstance(append, effects.Append)
    assert not rest
    intent, refused = append.events
    assert (intent.type, refused.type) == ("intent.refused", "command.refused")
    assert intent.data["rule"] == refused.data["rule"] == "max_order_notional"
    assert intent.data["detail"]
    assert intent.data["command_id"] == refused.data["command_id"] == "cmd_a"
    names = {"client_order_id", "exchange", "symbol", "side", "type", "amount", "filled"}
    assert names <= intent.data.keys()
    assert append.commands_done == ("cmd_a",)


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("unknown_command", command("x", "money.send")),
        ("malformed", place("x", amount="-1")),
        ("malformed", place("x", leverage="100")),
        ("malformed", place("x", price="1")),
        ("malformed", command("x", "order.cancel")),
        ("no_such_order", command("x", "order.cancel", client_order_id="0" * 32)),
        ("unsupported", command("x", "key.rotate")),
        ("exchange", place("x", exchange="binance")),
        ("symbol", place("x", symbol="XRP/USD")),
        ("step_size", place("x", amount="0.00001")),
        ("minimum_notional", place("x", amount="0.0002")),
        ("price_collar", place("x", type="limit", price="48000.5")),
        ("max_order_notional", place("x", amount="0.026")),
    ],
)
def test_a_command_that_is_not_carried_out_names_the_rule(rule: str, bad: object) -> None:
    assert ready().refused_by(bad) == rule  # type: ignore[arg-type]


def test_prices_are_rounded_for_the_owner_before_they_are_held_against_the_limits() -> None:
    node = ready()
    bought, sold = node.order(
        place("a", amount="0.01239", type="limit", price="40000.3"),
        place("b", "sell", amount="0.01", type="limit", price="40000.3"),
    )
    assert (bought.amount, bought.price) == (D("0.0123"), D("40000.0"))
    assert sold.price == D("40000.5")


def test_an_owner_who_takes_no_commands_gets_none() -> None:
    node = ready(server_commands=frozenset())
    assert node.refused_by(place("a")) == "server_commands"
    assert node.last("intent.refused")["rule"] == "server_commands"
    assert node.refused_by(command("b", "trading.pause")) == "server_commands"
    assert not node.state.pauses


def test_a_key_is_rotated_when_the_uplink_can() -> None:
    node = Node(can_rotate_key=True)
    assert effects.RotateKey("cmd_k") in node.take(events.CommandsArrived((command("k", "key.rotate"),), START))


def test_a_rotation_is_done_when_it_has_ended() -> None:
    node = Node(can_rotate_key=True)
    node.order(command("k", "key.rotate"), command("k", "key.rotate"))
    assert node.done.count(effects.RotateKey("cmd_k")) == 1
    assert not any(append.commands_done for append in node.appends)
    node.take(events.KeyRotationEnded(START, "cmd_k"))
    assert node.appends[-1].commands_done == ("cmd_k",)
    assert node.last("node.note") == {"text": "the node key was rotated", "command_id": "cmd_k"}


def protection(name: str, *, lives: float = 300) -> Command:
    return place(name, "sell", lives=lives, type="stop", stop_price="39000", reduce_only=True)


def protected(node: Node) -> tuple[OrderRequest, bool]:
    """An entry and its protection in one answer; and whether the protection waits."""
    (entry,) = node.order(place("a"), protection("b"))
    return entry, [each.command.id for each in node.state.waiting] == ["cmd_b"]


def sent_protection(node: Node) -> bool:
    return any(isinstance(each, effects.Submit) and each.request.reduce_only for each in node.done)


def test_an_order_that_reduces_waits_for_the_entry_before_it_and_for_its_fills() -> None:
    node = ready()
    entry, waits = protected(node)
    assert waits
    assert [append.commands_done for append in node.appends if append.commands_done] == [("cmd_a",)]
    node.tell(entry, S.FILLED)
    assert not sent_protection(node)
    node.fill(entry, "t", 40000)
    assert sent_protection(node)
    assert not node.state.waiting


def test_an_entry_that_fills_in_parts_is_waited_for_to_its_end() -> None:
    node = ready()
    entry, _ = protected(node)
    node.fill(entry, "t1", 40000, D("0.004"))
    node.tell(entry, S.OPEN, D("0.004"))
    assert not sent_protection(node)
    node.fill(entry, "t2", 40000, D("0.006"))
    assert sent_protection(node)


def test_an_entry_that_may_or_may_not_exist_is_waited_for() -> None:
    node = ready()
    entry, _ = protected(node)
    node.take(events.SubmitFailed(START, entry.client_order_id, Failure.UNKNOWN, "no answer"))
    assert node.state.waiting
    node.take(events.LookedFor(START, entry.client_order_id, Lookup(told(entry, S.FILLED))))
    node.fill(entry, "t", 40000)
    assert sent_protection(node)


def test_an_order_that_reduces_is_judged_once_the_entry_has_failed() -> None:
    node = ready()
    entry, _ = protected(node)
    node.take(events.SubmitFailed(START, entry.client_order_id, Failure.REFUSED, "no"))
    assert node.last("command.refused") == {"command_id": "cmd_b", "rule": "reduce_only"}


def test_orders_of_the_symbol_wait_behind_one_that_waits_and_all_else_overtakes() -> None:
    node = ready()
    protected(node)
    node.tick(0, 3000, "ETH/USD")
    other = place("d", amount="0.1", symbol="ETH/USD")
    assert len(node.order(place("c"), other, command("e", "trading.pause"))) == 1
    assert [each.command.id for each in node.state.waiting] == ["cmd_b", "cmd_c"]
    assert node.state.pauses


@pytest.mark.parametrize(
    "cancel",
    [
        command("x", "orders.cancel_all"),
        command("x", "orders.cancel_all", symbol="BTC/USD"),
        command("x", "order.cancel", client_order_id=order_of_command("cmd_b")),
    ],
)
def test_a_cancel_takes_out_what_waits(cancel: Command) -> None:
    node = ready()
    entry, _ = protected(node)
    node.order(cancel)
    assert not node.state.waiting
    assert node.last("command.refused") == {"command_id": "cmd_b", "rule": "cancelled"}
    assert node.last("node.note")["command_id"] == "cmd_x"
    node.fill(entry, "t", 40000)
    assert not sent_protection(node)


def test_a_cancel_of_another_symbol_leaves_what_waits() -> None:
    node = ready()
    protected(node)
    node.order(command("x", "orders.cancel_all", symbol="ETH/USD"))
    assert node.state.waiting


@pytest.mark.parametrize(("seconds", "waits"), [(29, True), (30, False)])
def test_nothing_waits_longer_than_half_a_minute(seconds: int, waits: bool) -> None:
    node = ready()
    protected(node)
    node.take(events.ServerSeen(START + timedelta(seconds=seconds)))
    assert bool(node.state.waiting) is waits
    if not waits:
        assert node.last("command.refused") == {"command_id": "cmd_b", "rule": "reduce_only"}


def test_an_order_that_has_waited_past_its_own_time_is_told_as_expired() -> None:
    node = ready()
    node.order(place("a"), protection("b", lives=5), place("c", lives=5))
    node.take(events.ServerSeen(START + timedelta(seconds=6)))
    told_of = [event.data["command_id"] for event in node.reports if event.type == "command.expired"]
    assert told_of == ["cmd_b", "cmd_c"]


def test_what_the_exchange_does_not_take_is_refused_before_it_is_an_order() -> None:
    conduct = Conduct(order_types=frozenset({OrderType.MARKET}), times_in_force=frozenset())
    node = Node(conduct=conduct)
    node.tick(0, 40000)
    refused = {
        "stop": place("a", type="stop", stop_price="39000", side="sell"),
        "limit": place("b", type="limit", price="39000"),
    }
    for kind, asked in refused.items():
        assert node.order(asked) == []
        assert node.last("command.refused")["rule"] == "unsupported"
        assert kind in node.last("intent.refused")["detail"]
    assert node.order(place("c"))


def test_an_order_below_the_market_s_least_amount_is_refused_whatever_it_is_worth() -> None:
    node = ready()
    node.take(events.CandleClosed(START, candle(0, 4000, "ETH/USD")))
    assert node.order(place("a", symbol="ETH/USD", amount="0.005")) == []
    assert node.last("command.refused")["rule"] == "minimum_amount"
    assert node.order(place("b", symbol="ETH/USD", amount="0.006"))

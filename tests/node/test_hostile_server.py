"""NC4: whatever a server may sign, the owner's limits hold; no server can widen them, wait them out or count them anew.

The server here is hostile and holds the right keys: everything it says verifies. It sends any command in any number and
order, old ones again, ones for other exchanges and symbols, with amounts, prices and times that nobody would send, and
it sets its clock as it likes. The node has any limits, a market with jumps and gaps, and an exchange that fills what it
gets. That a command meant for another node, or changed on its way, does not arrive at all is the signed line's promise:
`tests/adversarial/test_hostile_answers.py::test_a_node_acts_on_none_of_it_and_takes_the_good_answer_after_it`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.core import events
from node_agent.core.hours import parse
from node_agent.core.market import OrderType, Side
from node_agent.core.policy import Policy
from node_agent.core.state import RISK_CHECK_FAILED
from node_protocol.messages import COMMANDS, Command
from tests.node.limits_machine import Driven
from tests.node.limits_process import SYMBOLS
from tests.node.values import START, limits

ABSURD = "9" * 31 + "." + "9" * 30
TINY = "0." + "0" * 29 + "1"
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
DAYS = timedelta(days=1)

sizes = st.sampled_from(["0.5", "1", "2.5", "5", "8", "9.99", "30", TINY, ABSURD])
levels = st.sampled_from(["60", "81", "95", "100", "105", "119", "140", TINY, ABSURD])
order_data = st.fixed_dictionaries(
    {
        "exchange": st.sampled_from(["paper", "paper", "paper", "paper", "binance"]),
        "symbol": st.sampled_from([*SYMBOLS, *SYMBOLS, "XRP/USD", "btc/usd"]),
        "side": st.sampled_from(["buy", "sell"]),
        "amount": sizes,
    },
    optional={"reduce_only": st.booleans(), "time_in_force": st.sampled_from(["gtc", "ioc", "fok"])},
)
order_kinds = st.one_of(
    st.just({"type": "market"}),
    levels.map(lambda price: {"type": "limit", "price": price}),
    levels.map(lambda price: {"type": "stop", "stop_price": price}),
)
sane = st.fixed_dictionaries(
    {
        "exchange": st.just("paper"),
        "symbol": st.sampled_from(SYMBOLS),
        "side": st.sampled_from(["buy", "buy", "sell"]),
        "amount": st.sampled_from(["1", "2.5", "5"]),
        "type": st.just("market"),
    }
)
"""Orders that reach the limits' edge: what is absurd never does."""
lives = st.sampled_from([timedelta(seconds=-1), timedelta(seconds=1), timedelta(minutes=5), 400 * DAYS, END_OF_TIME])
ages = st.sampled_from([timedelta(0), timedelta(0), timedelta(minutes=2), DAYS, -DAYS])
clocks = st.sampled_from(
    [timedelta(0), timedelta(hours=5), timedelta(hours=-5), 3 * DAYS, -3 * DAYS, END_OF_TIME - START]
)
now = st.just(timedelta(0))
in_time = st.just(timedelta(minutes=5))
wishes = st.one_of(
    st.tuples(st.tuples(st.just("order.place"), sane), in_time, now),
    st.tuples(st.tuples(st.just("order.place"), sane), in_time, now),
    st.tuples(st.tuples(st.just("order.place"), sane), lives, ages),
    st.tuples(
        st.tuples(st.just("order.place"), st.builds(lambda data, kind: data | kind, order_data, order_kinds)),
        st.one_of(in_time, lives),
        st.one_of(now, ages),
    ),
    st.tuples(
        st.tuples(st.sampled_from([*sorted(COMMANDS), "limits.widen"]), st.sampled_from([{}, {"symbol": "BTC/USD"}])),
        lives,
        ages,
    ),
)
several = st.tuples(st.just("commands"), st.lists(wishes, min_size=1, max_size=4))
moves = st.one_of(
    several,
    several,
    several,
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("clock"), clocks),
    st.tuples(st.just("price"), st.sampled_from(SYMBOLS), st.sampled_from(["70", "94", "100", "104", "130"])),
    st.tuples(st.just("price"), st.sampled_from(SYMBOLS), st.sampled_from(["97", "98", "100", "102", "103"])),
    st.tuples(st.just("time"), st.sampled_from([1, 1, 40, 20_000])),
    st.tuples(st.just("fills"), st.integers(0, 30)),
    st.tuples(st.just("holds back"), st.sampled_from([False, False, True])),
    st.tuples(st.just("owner"), st.sampled_from(["pauses", "resumes", "resumes"])),
    st.tuples(st.just("restart"), st.none()),
)
WIDE = limits(
    max_order_notional=D(1300),
    max_open_notional=D(5000),
    max_position_notional=D(4000),
    max_total_notional=D(6000),
    orders_per_minute=100,
    max_signal_age=timedelta(days=9),
    max_data_age=timedelta(hours=10),
)
narrow: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"max_order_notional": D(300)},
        {"max_open_notional": D(500)},
        {"max_position_notional": D(900)},
        {"max_total_notional": D(1000)},
        {"orders_per_minute": 1},
        {"orders_per_minute": 3},
        {"orders_per_day": 2},
        {"orders_per_day": 4},
        {"daily_loss": D(0)},
        {"daily_loss": D(40)},
        {"drawdown": D(20)},
        {"price_collar": D("0.02")},
        {"max_signal_age": timedelta(seconds=30)},
        {"max_data_age": timedelta(seconds=30)},
        {"trading_hours": (parse("08:00-16:00"),)},
        {"symbols": frozenset({"BTC/USD"})},
        {"sides": frozenset({Side.BUY})},
        {"order_types": frozenset({OrderType.MARKET, OrderType.STOP})},
        {"server_commands": frozenset({"order.place"})},
        {"server_commands": frozenset()},
    ]
)
"""One at a time, or two, so that no other one hides whether a limit holds."""
policies = st.one_of(
    st.builds(lambda change: replace(WIDE, **change), narrow),
    st.builds(lambda one, other: replace(WIDE, **(one | other)), narrow, narrow),
)


class Attacked(Driven):
    """A node on an exchange, as the wall clock goes, whose server is hostile."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, live_market=True)
        self.sent: list[Command] = []
        self.holds_back = False
        """Whether the exchange leaves requests unanswered, so that commands wait."""

    def obeys_the_server(self, move: tuple[Any, ...]) -> None:
        match move:
            case ("commands", wanted):
                self.commands(wanted)
            case ("again", number) if self.sent:
                self.arrived(self.sent[number % len(self.sent)])
                self.answers()
            case ("clock", ahead):
                self.sync(ahead)
            case ("price", symbol, price):
                self.tick(symbol, price, 1)
            case ("time", seconds):
                self.now += timedelta(seconds=seconds)
                self.second()
            case ("fills", number) if self.exchange.open:
                name = self.exchange.open[number % len(self.exchange.open)]
                self.fill(name, self.exchange.orders[name].request.amount)
                self.tell_fills()
            case ("holds back", wanted):
                self.holds_back = wanted
                self.answers()
            case ("owner", "pauses"):
                self.stop("owner")
            case ("owner", "resumes"):
                self.go_on(everything=False)
            case ("restart", None):
                self.crash()

    def commands(self, wanted: list[tuple[tuple[str, dict[str, Any]], Any, timedelta]]) -> None:
        """One answer with several commands."""
        new = []
        for (type_, data), lives, age in wanted:
            self.names += 1
            try:
                issued = self.now + self.books.ahead - age
                expires = lives if isinstance(lives, datetime) else issued + lives
            except OverflowError:
                issued = expires = END_OF_TIME
            command = Command(id=f"cmd_{self.names}", issued_at=issued, expires_at=expires, type=type_, data=data)
            self.books.commands[command.id] = command
            new.append(command)
        self.sent += new
        known = self.journal.record_answer(ticket="t", acked_through=0, commands=new, at=self.now)
        self.take(lambda at: events.CommandsArrived(tuple(known), at))
        self.answers()

    def answers(self) -> None:
        """The exchange takes what it got, and fills at once what is at the market."""
        while self.exchange.wire and not self.holds_back:
            name = self.exchange.wire[0].request.client_order_id
            self.exchange.arrives(name)
            if self.exchange.orders[name].request.type is OrderType.MARKET:
                self.fill(name, self.exchange.orders[name].request.amount)
            self.tell(name)
            self.tell_fills()


@settings(max_examples=500)
@given(policy=policies, path=st.lists(moves, min_size=15, max_size=60))
def test_no_sequence_of_signed_commands_gets_past_the_owners_limits(policy: Policy, path: list[Any]) -> None:
    """Promise (NC4): exposure, rates by minute and day, loss, drawdown and symbols stay within the owner's limits.

    Each order is held against all of them when it is written down, by books that know nothing of the node's. Nothing
    that the server says stops the node either: no step raises, and its own check of an order never does.
    """
    node = Attacked(policy)
    try:
        for move in path:
            node.obeys_the_server(move)
            assert RISK_CHECK_FAILED not in node.state.pauses
            assert node.state.policy == policy
    finally:
        node.close()


def settled(policy: Policy) -> Attacked:
    """A node on an exchange that has bought one coin at 100."""
    node = Attacked(policy)
    node.commands([wish("buy")])
    return node


def wish(side: str, **more: Any) -> tuple[tuple[str, dict[str, Any]], Any, timedelta]:
    data = {"exchange": "paper", "symbol": "BTC/USD", "side": side, "type": "market", "amount": "1"}
    return ("order.place", data | more), timedelta(minutes=5), timedelta(0)


@pytest.mark.parametrize("ahead", [timedelta(hours=20), timedelta(hours=-20), 3 * DAYS, -3 * DAYS, 400 * DAYS])
def test_no_clock_of_a_server_begins_a_day_anew(ahead: timedelta) -> None:
    """Promise (NC4): the day's count of orders and its loss are the owner's, by the clock of the owner's machine."""
    counted = settled(replace(WIDE, orders_per_day=2))
    lost = settled(replace(WIDE, daily_loss=D(10)))
    try:
        counted.commands([wish("buy")])
        lost.tick("BTC/USD", "85", 1)
        for node in (counted, lost):
            sent = len(node.books.decided)
            node.sync(ahead)
            node.second()
            node.tick("BTC/USD", "90", 1)
            node.commands([wish("buy")])
            node.crash()
            node.commands([wish("buy")])
            assert len(node.books.decided) == sent
            assert node.state.day is not None
            assert node.state.day.date == node.now.date()
    finally:
        counted.close()
        lost.close()


@pytest.mark.parametrize("crashes", [False, True])
def test_a_fall_from_the_days_best_moment_stops_a_server_though_the_day_has_lost_nothing(crashes: bool) -> None:
    """Promise (NC4): the drawdown counts from the day's best moment, and a restart forgets neither."""
    node = settled(replace(WIDE, drawdown=D(20)))
    try:
        node.tick("BTC/USD", "130", 1)
        if crashes:
            node.crash()
        node.tick("BTC/USD", "109", 1)
        sent = len(node.books.decided)
        node.commands([wish("buy")])
        assert len(node.books.decided) == sent
    finally:
        node.close()


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("pause", ["owner", "server"])
def test_what_waited_when_new_risk_was_stopped_is_not_carried_out_against_it(pause: str, crashes: bool) -> None:
    """Promise (NC4): an order that came before a pause, and had to wait for another, is held against the pause."""
    node = settled(WIDE)
    try:
        node.holds_back = True
        node.commands([wish("sell", amount="0.5"), wish("sell", amount="0.5", reduce_only=True), wish("buy")])
        assert len(node.state.waiting) == 2
        sent = len(node.books.decided)
        if pause == "owner":
            node.stop("owner")
        else:
            node.commands([(("trading.pause", {}), timedelta(minutes=5), timedelta(0))])
        if crashes:
            node.arrives_at_death = False
            node.crash()
        node.holds_back = False
        node.answers()
        assert not node.state.waiting
        assert len(node.books.decided) == sent + 1
        assert all(each.request.side is not Side.BUY for each in list(node.books.decided.values())[1:])
    finally:
        node.close()

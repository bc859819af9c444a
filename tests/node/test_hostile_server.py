"""NC4: whatever a server may sign, the owner's limits hold; no server can widen them, wait them out or count them anew.

The server here is hostile and holds the right keys: everything it says verifies. It sends any command in any number and
order, old ones again, ones for other exchanges and symbols, with amounts, prices and times that nobody would send, and
it sets its clock as it likes. The node has any limits, a market with jumps and gaps, and an exchange that fills what it
gets. That a command meant for another node, or changed on its way, does not arrive at all is the signed line's promise:
`tests/adversarial/test_hostile_answers.py::test_a_node_acts_on_none_of_it_and_takes_the_good_answer_after_it`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.core import events
from node_agent.core.hours import parse
from node_agent.core.market import OrderType, Side
from node_agent.core.policy import TRADING_COMMANDS, Policy
from node_agent.core.state import RISK_CHECK_FAILED
from node_protocol.messages import COMMANDS, Command
from tests.node.limits_machine import SYMBOLS, Driven
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
wishes = st.one_of(
    st.tuples(st.just("order.place"), st.builds(lambda data, kind: data | kind, order_data, order_kinds)),
    st.tuples(st.just("order.place"), st.builds(lambda data, kind: data | kind, order_data, order_kinds)),
    st.tuples(st.sampled_from([*sorted(COMMANDS), "limits.widen"]), st.sampled_from([{}, {"symbol": "BTC/USD"}])),
)
lives = st.sampled_from([timedelta(seconds=-1), timedelta(seconds=1), timedelta(minutes=5), 400 * DAYS, END_OF_TIME])
ages = st.sampled_from([timedelta(0), timedelta(0), timedelta(minutes=2), DAYS, -DAYS])
clocks = st.sampled_from(
    [timedelta(0), timedelta(hours=5), timedelta(hours=-5), 3 * DAYS, -3 * DAYS, END_OF_TIME - START]
)

moves = st.one_of(
    st.tuples(st.just("commands"), st.lists(st.tuples(wishes, lives, ages), min_size=1, max_size=4)),
    st.tuples(st.just("commands"), st.lists(st.tuples(wishes, lives, ages), min_size=1, max_size=4)),
    st.tuples(st.just("commands"), st.lists(st.tuples(wishes, lives, ages), min_size=1, max_size=4)),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("clock"), clocks),
    st.tuples(st.just("price"), st.sampled_from(SYMBOLS), st.sampled_from(["70", "94", "100", "104", "130"])),
    st.tuples(st.just("time"), st.sampled_from([1, 40, 600, 20_000])),
    st.tuples(st.just("fills"), st.integers(0, 30)),
    st.tuples(st.just("holds back"), st.booleans()),
    st.tuples(st.just("owner"), st.sampled_from(["pauses", "resumes", "resumes"])),
    st.tuples(st.just("restart"), st.none()),
)
policies = st.builds(
    limits,
    max_order_notional=st.sampled_from([D(300), D(1300)]),
    max_open_notional=st.sampled_from([D(500), D(5000)]),
    max_position_notional=st.sampled_from([D(900), D(4000)]),
    max_total_notional=st.sampled_from([D(1000), D(6000)]),
    orders_per_minute=st.sampled_from([1, 3, 100]),
    orders_per_day=st.sampled_from([2, 6, 1000]),
    daily_loss=st.sampled_from([D(0), D(40), D(500)]),
    drawdown=st.sampled_from([D(25), D(500)]),
    price_collar=st.sampled_from([D("0.02"), D("0.20")]),
    max_signal_age=st.sampled_from([timedelta(seconds=30), timedelta(days=9)]),
    max_data_age=st.sampled_from([timedelta(seconds=30), timedelta(hours=10)]),
    trading_hours=st.sampled_from([(), (), (parse("08:00-16:00"),)]),
    symbols=st.sampled_from([frozenset(SYMBOLS), frozenset({"BTC/USD"})]),
    sides=st.sampled_from([frozenset(Side), frozenset(Side), frozenset({Side.BUY})]),
    order_types=st.sampled_from([frozenset(OrderType), frozenset({OrderType.MARKET, OrderType.STOP})]),
    server_commands=st.sampled_from([TRADING_COMMANDS, TRADING_COMMANDS, frozenset({"order.place"}), frozenset()]),
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


@settings(max_examples=300)
@given(policy=policies, path=st.lists(moves, min_size=5, max_size=60))
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

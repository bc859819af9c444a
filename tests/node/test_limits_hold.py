"""Whatever is commanded, told, lost, repeated or crashed: no order gets past the limits, and none is made twice.

The books here are the test's own: it sees only what the node sends to the exchange, and what it told the node.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from node_agent.core import effects, events
from node_agent.core.engine import step
from node_agent.core.events import CoreEvent, Failure, Lookup
from node_agent.core.market import ExchangeOrder, ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.journal import Journal
from node_agent.strategies import MaTrend
from node_protocol.messages import COMMANDS, Command
from tests.node.values import MARKETS, START, candle, fill, limits, told

SYMBOLS = ("BTC/USD", "ETH/USD")
RAM = Path("/dev/shm")

amounts = st.sampled_from(["0.3", "1", "2.5", "5", "9", "12", "40", "0.00001"])
prices = st.sampled_from(["79", "80", "99.9", "100", "101", "120", "121"])
orders = st.fixed_dictionaries(
    {
        "exchange": st.sampled_from(["paper"] * 9 + ["binance"]),
        "symbol": st.sampled_from([*SYMBOLS] * 5 + ["XRP/USD"]),
        "side": st.sampled_from(["buy", "sell"]),
        "amount": amounts,
    },
    optional={"reduce_only": st.booleans()},
)
kinds = st.one_of(
    st.just({"type": "market"}),
    prices.map(lambda price: {"type": "limit", "price": price}),
    prices.map(lambda price: {"type": "stop", "stop_price": price}),
)
switches = st.sampled_from(["trading.pause", "trading.resume", "trading.resume", *sorted(COMMANDS), "money.send"])
nonsense = st.dictionaries(st.text(max_size=3), st.integers(), min_size=1, max_size=2)
WIDE = limits(
    max_order_notional=D(1300), max_position_notional=D(4000), max_total_notional=D(6000), orders_per_minute=100
)
tight: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"max_order_notional": D(600)},
        {"max_position_notional": D(1000)},
        {"max_total_notional": D(1000)},
        {"orders_per_minute": 2},
        {"daily_loss": D(30)},
        {"price_collar": D("0.01")},
        {"sides": frozenset({Side.BUY})},
        {"symbols": frozenset({"BTC/USD"})},
        {"order_types": frozenset({OrderType.MARKET})},
        {"server_commands": False},
    ]
)
"""One limit at a time is narrow, so that no other one hides whether it holds."""


class Owner(RuleBasedStateMachine):
    """A node between a hostile server, an exchange that does as it likes, a market, and crashes."""

    commands = Bundle("commands")

    @initialize(changes=tight)
    def begin(self, changes: dict[str, Any]) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None)
        self.journal = Journal.open(Path(self.folder.name) / "journal.sqlite3")
        self.policy = replace(WIDE, **changes)
        self.now: datetime = START
        self.minute = 0
        self.market_at: datetime | None = None
        self.last: dict[str, D] = {}
        # The exchange's books, and what is on the way to the node.
        self.books: dict[str, OrderRequest] = {}
        self.filled: dict[str, D] = {}
        self.status: dict[str, ExchangeStatus] = {}
        self.fills: list[Any] = []
        # What the node was told, as the test counts it.
        self.position: dict[str, D] = {}
        self.told_fills: list[Any] = []
        self.cash = D(0)
        self.day: tuple[Any, D] | None = None
        self.ended: set[str] = set()
        self.sent: dict[str, OrderRequest] = {}
        self.surely_not_there: set[str] = set()
        self.wanted_until: dict[str, datetime] = {}
        self.sent_at: list[datetime] = []
        self.stopped: set[str] = set()
        self.seqs: list[int] = []
        self.names = 0
        self.start()
        for symbol in SYMBOLS:
            self.tick(symbol, "100", 1)

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    # The node.

    def start(self) -> None:
        self.state = self.journal.restore()
        live = [each for each in self.state.orders.values() if not each.ended]
        lookups = {each.client_order_id: Lookup(self.told(each.client_order_id)) for each in live}
        missed = tuple(each for each in self.fills if not self.journal.has_fill(each))
        for each in missed:
            self.count(each)
        trend = tuple(MaTrend(symbol, 1, 2, D(250), name=f"trend-{symbol}") for symbol in SYMBOLS)
        self.take(
            events.Started(self.now, "0.1.0", "paper", "paper", self.policy, MARKETS, lookups, missed, strategies=trend)
        )
        self.take(events.CommandsArrived(tuple(self.journal.commands_not_done()), self.now))

    def take(self, event: CoreEvent) -> None:
        state, wanted = step(self.state, event)
        before_append = True
        for effect in wanted:
            if isinstance(effect, effects.Append):
                assert before_append, "an append after something was done"
                self.journal.append(effect)
                self.seqs += [each.seq for each in effect.events]
                self.ended |= {order.client_order_id for order in effect.orders if order.ended}
            else:
                before_append = False
            if isinstance(effect, effects.Remember):
                self.journal.put_facts(effect.facts)
            if isinstance(effect, effects.Submit):
                self.check(effect.request)
        self.state = state

    def check(self, request: OrderRequest) -> None:
        """The owner's limits, worked out from the test's own books."""
        name = request.client_order_id
        self.surely_not_there.discard(name)
        written = {order.client_order_id for order in self.journal.open_orders()}
        assert name in written, "sent before it was written down"
        if name in self.sent:
            assert name not in self.books, "sent again although the exchange has it"
            assert request == self.sent[name]
            assert self.now <= self.wanted_until[name], "sent again although nobody wants it any more"
            assert request.reduce_only or not self.stopped, f"sent again although {self.stopped}"
            return
        policy, last = self.policy, self.last[request.symbol]
        assert request.symbol in policy.symbols
        assert request.side in policy.sides
        assert request.type in policy.order_types
        assert request.amount > 0
        live = [each for each in self.sent.values() if each.client_order_id not in self.ended]
        against = [each for each in live if (each.symbol, each.side) == (request.symbol, request.side)]
        held = self.position.get(request.symbol, D(0))
        sign = 1 if request.side is Side.BUY else -1
        closes = sign * held < 0 and request.amount + sum((self.open(each) for each in against), D(0)) <= abs(held)
        self.sent[name] = request
        (order,) = (each for each in self.journal.open_orders() if each.client_order_id == name)
        self.wanted_until[name] = order.wanted_until
        level = request.price or request.stop_price
        protection = closes and request.stop_price is not None
        if level is not None and not protection:
            worst = last * (1 + sign * policy.price_collar)
            assert level <= worst if request.side is Side.BUY else level >= worst
        assert self.market_at is not None
        self.sent_at.append(self.market_at)
        if closes:
            return
        assert not request.reduce_only
        assert not self.stopped, f"new risk although {self.stopped}"
        assert self.worth(request, request.amount) <= policy.max_order_notional
        one_way = held * last * sign + sum((self.worth(each, self.open(each)) for each in [*against, request]), D(0))
        assert one_way <= policy.max_position_notional
        assert (
            sum((abs(amount) * self.last[symbol] for symbol, amount in self.position.items()), D(0))
            + sum((self.risk(symbol, [*live, request]) for symbol in SYMBOLS), D(0))
            <= policy.max_total_notional
        )
        recent = [at for at in self.sent_at if at > self.market_at - timedelta(minutes=1)]
        assert len(recent) <= policy.orders_per_minute
        assert self.loss() < policy.daily_loss

    def open(self, request: OrderRequest) -> D:
        told = sum((each.amount for each in self.told_fills if each.client_order_id == request.client_order_id), D(0))
        return request.amount - told

    def worth(self, request: OrderRequest, amount: D) -> D:
        last = self.last[request.symbol]
        level = request.price or request.stop_price or last
        if request.type is OrderType.STOP or request.side is Side.SELL:
            level = max(level, last)
        return amount * level

    def risk(self, symbol: str, live: list[OrderRequest]) -> D:
        """The least that open orders of a symbol add when its position covers what it can."""
        held = self.position.get(symbol, D(0))
        total = D(0)
        for side, cover in ((Side.SELL, max(held, D(0))), (Side.BUY, max(-held, D(0)))):
            ours = [each for each in live if (each.symbol, each.side) == (symbol, side)]
            size = sum((self.open(each) for each in ours), D(0))
            dearest = max((self.worth(each, D(1)) for each in ours), default=D(0))
            whole = sum((self.worth(each, self.open(each)) for each in ours), D(0))
            total += max(whole - min(cover, size) * dearest, D(0))
        return total

    def result(self) -> D:
        return self.cash + sum((amount * self.last[symbol] for symbol, amount in self.position.items()), D(0))

    def loss(self) -> D:
        return D(0) if self.day is None else self.day[1] - self.result()

    # What happens.

    @rule(target=commands, asked=orders, kind=kinds, lives=st.sampled_from([1, 60, 3600]))
    def order(self, asked: dict[str, Any], kind: dict[str, Any], lives: int) -> Command:
        return self.arrives("order.place", asked | kind, lives)

    @rule(target=commands, type_=switches, data=st.one_of(st.just({}), st.just({}), nonsense))
    def other_command(self, type_: str, data: dict[str, Any]) -> Command:
        return self.arrives(type_, data, 60)

    @rule(command=commands)
    def again(self, command: Command) -> None:
        known = self.journal.record_answer(ticket="t", acked_through=0, commands=[command], at=self.now)
        assert not known
        self.take(events.CommandsArrived((command,), self.now))

    def arrives(self, type_: str, data: dict[str, Any], lives: int) -> Command:
        self.names += 1
        command = Command(
            id=f"cmd_{self.names}",
            issued_at=self.now,
            expires_at=self.now + timedelta(seconds=lives),
            type=type_,
            data=data,
        )
        new = self.journal.record_answer(ticket="t", acked_through=0, commands=[command], at=self.now)
        if type_ == "trading.pause" and not data and self.policy.server_commands:
            self.stopped.add("server")
        if type_ == "trading.resume" and not data and self.policy.server_commands:
            self.stopped.discard("server")
        self.take(events.CommandsArrived(tuple(new), self.now))
        return command

    @rule(symbol=st.sampled_from(SYMBOLS), price=prices, minutes=st.sampled_from([1, 1, 1, 2, 700]))
    def tick(self, symbol: str, price: str, minutes: int) -> None:
        self.minute += minutes
        self.now += timedelta(seconds=1)
        close = candle(self.minute, price, symbol)
        self.last[symbol] = D(price)
        self.market_at = close.at
        if self.day is None or close.at.date() > self.day[0]:
            self.day = (close.at.date(), self.result())
        self.take(events.CandleClosed(self.now, close))

    @rule(data=st.data(), share=st.sampled_from(["0.5", "1"]), told=st.booleans())
    def trade(self, data: st.DataObject, share: str, told: bool) -> None:
        """An order that the exchange has, or now gets, trades; the node hears of it, or not yet."""
        name = self.pick(data)
        if name is None:
            return
        request = self.reaches(name)
        amount = (request.amount - self.filled[name]) * D(share)
        if self.status[name] is not ExchangeStatus.OPEN or amount <= 0:
            return
        self.filled[name] += amount
        if self.filled[name] == request.amount:
            self.status[name] = ExchangeStatus.FILLED
        made = fill(request, f"t{len(self.fills)}", self.last[request.symbol], amount)
        self.fills.append(made)
        if told:
            self.tell(made)

    @rule(target=commands, symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(Side), amount=amounts)
    def market_order_that_fills(self, symbol: str, side: Side, amount: str) -> Command:
        data = {"exchange": "paper", "symbol": symbol, "side": str(side), "type": "market", "amount": amount}
        before = set(self.sent)
        command = self.arrives("order.place", data, 3600)
        for name in set(self.sent) - before:
            request = self.reaches(name)
            self.filled[name], self.status[name] = request.amount, ExchangeStatus.FILLED
            made = fill(request, f"t{len(self.fills)}", self.last[symbol])
            self.fills.append(made)
            self.tell(made)
        return command

    @rule(data=st.data())
    def repeat_fill(self, data: st.DataObject) -> None:
        if self.fills:
            self.tell(data.draw(st.sampled_from(self.fills)))

    @rule(data=st.data(), to=st.sampled_from([None, ExchangeStatus.CANCELLED, ExchangeStatus.EXPIRED]))
    def answer(self, data: st.DataObject, to: ExchangeStatus | None) -> None:
        """The exchange tells how an order stands, having perhaps ended it."""
        name = self.pick(data)
        if name is None:
            return
        self.reaches(name)
        if to is not None and self.status[name] is ExchangeStatus.OPEN:
            self.status[name] = to
        told = self.told(name)
        assert told is not None
        self.take(events.OrderTold(self.now, told))

    @rule(data=st.data(), failure=st.sampled_from(Failure), reached=st.booleans())
    def fail(self, data: st.DataObject, failure: Failure, reached: bool) -> None:
        """Placing an order fails; when the outcome is unknown the exchange may have it."""
        name = self.pick(data, set(self.sent) - set(self.books))
        if name is None:
            return
        if failure is Failure.UNKNOWN and reached:
            self.reaches(name)
        if failure is not Failure.UNKNOWN:
            self.surely_not_there.add(name)
        self.take(events.SubmitFailed(self.now, name, failure, "so"))

    @rule(data=st.data(), sure=st.booleans())
    def look(self, data: st.DataObject, sure: bool) -> None:
        name = self.pick(data)
        if name is not None:
            lookup = Lookup(self.told(name)) if sure else Lookup(None, unsure="away")
            self.take(events.LookedFor(self.now, name, lookup))

    @rule(data=st.data())
    def due(self, data: st.DataObject) -> None:
        names = sorted(set(self.sent) - self.ended)
        if names:
            self.take(events.Due(self.now, data.draw(st.sampled_from(names))))

    @rule(what=st.sampled_from(["suspend", "pause", "accept", "accept", "resume", "resume", "balances"]))
    def others(self, what: str) -> None:
        """The server's standing, the owner's pauses, the account."""
        if what == "suspend":
            self.stopped.add("suspended")
            self.take(events.Suspended("a fork", self.now))
        elif what == "accept":
            self.stopped.discard("suspended")
            self.take(events.ServerSeen(self.now))
        elif what == "pause":
            self.stopped.add("owner")
            self.take(events.OwnerPaused(self.now, "so"))
        elif what == "resume":
            self.stopped -= {"owner", "server"}
            self.take(events.OwnerResumed(self.now))
        else:
            self.take(events.BalancesTold(self.now, {"USD": D(1000)}))

    @rule(later=st.sampled_from([0, 30, 400]))
    def crash(self, later: int) -> None:
        """Killed, and started again from the journal alone."""
        self.now += timedelta(seconds=later)
        self.start()

    # The exchange.

    def pick(self, data: st.DataObject, among: set[str] | None = None) -> str | None:
        alive = (set(self.sent) - self.ended | set(self.books)) if among is None else among - self.ended
        names = sorted(alive - self.surely_not_there)
        return data.draw(st.sampled_from(names)) if names else None

    def reaches(self, name: str) -> OrderRequest:
        if name not in self.books:
            self.books[name] = self.sent[name]
            self.filled[name] = D(0)
            self.status[name] = ExchangeStatus.OPEN
        return self.books[name]

    def told(self, name: str) -> ExchangeOrder | None:
        return told(self.books[name], self.status[name], self.filled[name]) if name in self.books else None

    def tell(self, made: Any) -> None:
        self.count(made)
        self.take(events.FillTold(self.now, made))

    def count(self, made: Any) -> None:
        if made.trade_id in {each.trade_id for each in self.told_fills}:
            return
        self.told_fills.append(made)
        sign = 1 if made.side is Side.BUY else -1
        self.position[made.symbol] = self.position.get(made.symbol, D(0)) + sign * made.amount
        self.cash -= sign * made.amount * made.price

    # What always holds.

    @invariant()
    def events_have_no_gap(self) -> None:
        assert self.seqs == list(range(1, len(self.seqs) + 1))

    @invariant()
    def positions_are_what_the_fills_come_to(self) -> None:
        ours = {symbol: held.amount for symbol, held in self.state.holdings.items() if held.amount}
        assert ours == {symbol: amount for symbol, amount in self.position.items() if amount}

    @invariant()
    def the_journal_rebuilds_the_state(self) -> None:
        rebuilt = self.journal.restore()
        assert rebuilt.next_seq == self.state.next_seq
        assert rebuilt.holdings == self.state.holdings
        assert rebuilt.strategy_books == self.state.strategy_books
        assert rebuilt.pauses == self.state.pauses
        assert dict(rebuilt.orders) == dict(self.state.orders)
        assert (rebuilt.market_at, rebuilt.prices, rebuilt.day) == (
            self.state.market_at,
            self.state.prices,
            self.state.day,
        )
        assert sorted(rebuilt.placed) == sorted(self.state.placed)


TestOwner = Owner.TestCase
TestOwner.settings = settings(
    max_examples=300,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

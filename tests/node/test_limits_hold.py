"""Whatever is commanded, told, lost, repeated or crashed: no order gets past the limits, and none is made twice.

The books here are the test's own (`limits_books`): it sees only what the node writes down and sends, and what it told
the node. The exchange (`limits_exchange`) may take a lost request late, and the same client order id once more when its
order has ended; the node must never let it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.hours import parse
from node_agent.core.market import Conduct, ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.core.policy import OnSilence, Policy
from node_protocol.messages import COMMANDS, Command
from tests.node.limits_machine import TROUBLES, Driven
from tests.node.limits_process import SYMBOLS
from tests.node.values import limits

amounts = st.sampled_from(["0.3", "1", "1", "2.5", "2.5", "5", "9", "12", "40", "0.00001"])
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
        {"max_open_notional": D(700)},
        {"max_position_notional": D(1000)},
        {"max_total_notional": D(1000)},
        {"orders_per_minute": 2},
        {"orders_per_day": 2},
        {"daily_loss": D(30)},
        {"drawdown": D(20)},
        {"price_collar": D("0.01")},
        {"max_signal_age": timedelta(seconds=20)},
        {"max_data_age": timedelta(seconds=40)},
        {"trading_hours": (parse("09:00-09:20"),)},
        {"sides": frozenset({Side.BUY})},
        {"symbols": frozenset({"BTC/USD"})},
        {"order_types": frozenset({OrderType.MARKET})},
        {"server_commands": frozenset()},
        {"server_commands": frozenset({"order.place", "trading.resume"})},
        {"server_silence": timedelta(seconds=90)},
        {"server_silence": timedelta(seconds=90), "on_server_silence": OnSilence.CANCEL_OPEN},
        {"server_silence": timedelta(seconds=90), "on_server_silence": OnSilence.FLATTEN},
    ]
)
"""One limit at a time is narrow, so that no other one hides whether it holds."""
conducts = st.sampled_from(
    [
        Conduct(),
        Conduct(settles_within=timedelta(seconds=30), ids_unique_for_ever=False),
        Conduct(settles_within=timedelta(seconds=30)),
    ]
)
DEATHS = ("before append", "after append")
deaths = st.sampled_from(DEATHS)
patiences = st.sampled_from([None, 1, 31])
afterwards = st.sampled_from([0.0, 1.0, 31.0, 400.0])


class Owner(RuleBasedStateMachine):
    """The node of one owner, and everything that may happen to it."""

    commands = Bundle("commands")

    @initialize(changes=tight, live_market=st.booleans(), conduct=conducts)
    def begin(self, changes: dict[str, Any], live_market: bool, conduct: Conduct) -> None:
        self.node = Driven(self.policy(changes), live_market=live_market, conduct=conduct)
        self.list_before: Any = ()

    def teardown(self) -> None:
        if hasattr(self, "node"):
            self.node.close()

    @staticmethod
    def policy(changes: dict[str, Any]) -> Policy:
        return replace(WIDE, **changes)

    # The server.

    @rule(target=commands, asked=orders, kind=kinds, lives=st.sampled_from([1, 60, 3600]), old=st.sampled_from([0, 30]))
    def order(self, asked: dict[str, Any], kind: dict[str, Any], lives: int, old: int) -> Command:
        return self.node.arrive("order.place", asked | kind, timedelta(seconds=lives), timedelta(seconds=old))

    @rule(target=commands, type_=switches, data=st.one_of(st.just({}), st.just({}), nonsense))
    def other_command(self, type_: str, data: dict[str, Any]) -> Command:
        return self.node.arrive(type_, data, timedelta(seconds=60))

    @rule(command=commands)
    def again(self, command: Command) -> None:
        self.node.arrived(command)
        if command.id in self.node.state.commands:
            self.node.take(lambda at: events.CommandsArrived((command,), at))

    @rule(ahead=st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=26), timedelta(hours=-26)]))
    def sync(self, ahead: timedelta) -> None:
        self.node.sync(ahead)

    @rule(target=commands, symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(Side), amount=amounts)
    def market_order_that_fills(self, symbol: str, side: Side, amount: str) -> Command:
        data = {"exchange": "paper", "symbol": symbol, "side": str(side), "type": "market", "amount": amount}
        before = set(self.node.books.decided)
        command = self.node.arrive("order.place", data, timedelta(hours=1))
        for name in set(self.node.books.decided) - before:
            if self.node.exchange.arrives(name):
                self.node.fill(name, self.node.books.decided[name].request.amount)
        self.node.tell_fills()
        return command

    @rule(
        target=commands,
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(Side),
        kind=kinds,
        answer=st.sampled_from(["taken", "taken", "later", *Failure]),
        looked_for_after=patiences,
    )
    def small_order(
        self, symbol: str, side: Side, kind: dict[str, Any], answer: str, looked_for_after: int | None
    ) -> Command:
        data = {"exchange": "paper", "symbol": symbol, "side": str(side), "amount": "1"} | kind
        before = set(self.node.books.decided)
        command = self.node.arrive("order.place", data, timedelta(minutes=2))
        for name in set(self.node.books.decided) - before:
            if answer in list(Failure):
                self.node.submit_fails(name, Failure(answer), looked_for_after)
            elif answer == "taken" and self.node.exchange.arrives(name):
                self.node.tell(name)
        return command

    # The market, and time.

    @rule(symbol=st.sampled_from(SYMBOLS), price=prices, minutes=st.sampled_from([1, 1, 1, 2, 700]))
    def candle(self, symbol: str, price: str, minutes: int) -> None:
        self.node.tick(symbol, price, minutes)

    @rule(seconds=st.sampled_from([1, 1, 35, 100, 50_000]), ticks=st.booleans())
    def time_passes(self, seconds: int, ticks: bool) -> None:
        self.node.now += timedelta(seconds=seconds)
        if ticks:
            self.node.second()

    @rule(side=st.sampled_from(Side))
    def midnight(self, side: Side) -> None:
        """The wall clock's day is over, and prices are of now: what is ordered next is ordered on another day."""
        midnight = self.node.now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        self.node.now = midnight - timedelta(minutes=len(SYMBOLS), seconds=1)
        for symbol in SYMBOLS:
            self.node.tick(symbol, str(self.node.books.last[symbol]), 1)
        self.node.now = midnight
        for _ in range(3):
            self.market_order_that_fills(SYMBOLS[0], side, "1")
            self.node.second()

    # The exchange.

    def pick(self, data: st.DataObject, among: Any) -> Any:
        names = sorted(among)
        return data.draw(st.sampled_from(names)) if names else None

    @rule(data=st.data(), told=st.booleans())
    def arrives(self, data: st.DataObject, told: bool) -> None:
        """A request on its way arrives, perhaps long after we gave up waiting for an answer."""
        name = self.pick(data, {each.request.client_order_id for each in self.node.exchange.wire})
        if name is not None:
            self.node.exchange.arrives(name)
            if told:
                self.node.tell(name)

    @rule(data=st.data(), failure=st.sampled_from(Failure), looked_for_after=patiences)
    def submit_fails(self, data: st.DataObject, failure: Failure, looked_for_after: int | None) -> None:
        name = self.pick(data, {name for each in self.node.asked if (name := self.node.sends(each)) is not None})
        if name is not None:
            self.node.submit_fails(name, failure, looked_for_after)

    @rule(data=st.data(), how=st.sampled_from(["done", "done", "refused", "unavailable", "unknown"]))
    def cancel_is_answered(self, data: st.DataObject, how: str) -> None:
        node = self.node
        name = self.pick(data, {each.client_order_id for each in node.asked if isinstance(each, effects.Cancel)})
        if name is None:
            return
        node.asked = [
            each for each in node.asked if not (isinstance(each, effects.Cancel) and each.client_order_id == name)
        ]
        if how in ("done", "unknown") and name in node.exchange.orders:
            node.exchange.ends(name)
        if how == "done":
            node.tell(name)
        else:
            node.take(lambda at: events.CancelFailed(at, name, Failure(how), "so"))

    @rule(data=st.data(), share=st.sampled_from(["0.5", "1"]), told=st.booleans())
    def trade(self, data: st.DataObject, share: str, told: bool) -> None:
        """An open order trades; the node hears of it, or not yet."""
        name = self.pick(data, self.node.exchange.open)
        if name is None:
            return
        placed = self.node.exchange.orders[name]
        self.node.fill(name, (placed.request.amount - placed.filled) * D(share))
        if told:
            self.node.tell_fills()

    @rule()
    def fills_are_told(self) -> None:
        self.node.tell_fills()

    @rule(data=st.data())
    def repeat_fill(self, data: st.DataObject) -> None:
        told = self.pick(data, self.node.books.fills)
        if told is not None:
            self.node.tell_fill(self.node.books.fills[told])

    @rule(data=st.data(), to=st.sampled_from([None, None, ExchangeStatus.CANCELLED, ExchangeStatus.EXPIRED]))
    def answer(self, data: st.DataObject, to: ExchangeStatus | None) -> None:
        """The exchange tells how an order stands, having perhaps ended it."""
        name = self.pick(data, self.node.exchange.orders)
        if name is None:
            return
        if to is not None:
            self.node.exchange.ends(name, to)
        self.node.tell(name)

    @rule(data=st.data())
    def looks(self, data: st.DataObject) -> None:
        """The exchange looks for an order; what it found is told later, when it may be true no more."""
        name = self.pick(data, {order.client_order_id for order in self.node.state.live})
        if name is not None:
            self.node.looks.append(events.LookedFor(self.node.now, name, self.node.found(name)))

    @rule(data=st.data(), seconds=st.sampled_from([0, 31]))
    def arrives_while_it_is_looked_for(self, data: st.DataObject, seconds: int) -> None:
        """The exchange did not find it; what it did not find is there when it says so."""
        name = self.pick(data, {each.request.client_order_id for each in self.node.exchange.wire})
        if name is not None:
            found = self.node.found(name)
            self.node.exchange.arrives(name)
            self.node.now += timedelta(seconds=seconds)
            self.node.tell_found(name, found)

    @rule(unsure=st.booleans())
    def found(self, unsure: bool) -> None:
        if not self.node.looks:
            return
        found = self.node.looks.pop(0)
        self.node.tell_found(found.client_order_id, Lookup(None, unsure="away") if unsure else found.lookup)

    @rule(data=st.data())
    def due(self, data: st.DataObject) -> None:
        name = self.pick(data, {order.client_order_id for order in self.node.state.live})
        if name is not None:
            self.node.is_due(name)

    @rule()
    def list_is_made(self) -> None:
        """The exchange lists the account's open orders, and tells the list later."""
        self.list_before = self.node.exchange.listed()

    @rule(fresh=st.booleans(), without_ours=st.sampled_from([False, False, True]))
    def list_is_told(self, fresh: bool, without_ours: bool) -> None:
        told = self.node.exchange.listed() if fresh else self.list_before
        if without_ours:
            told = tuple(each for each in told if not each.order.client_order_id)
        self.node.list_is_told(told)

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(Side),
        amount=st.sampled_from([D(1), D(6)]),
        price=st.sampled_from([None, D(90), D(110)]),
    )
    def a_stranger_trades_too(self, symbol: str, side: Side, amount: D, price: D | None) -> None:
        self.node.exchange.stranger(symbol, side, amount, price)
        self.node.list_is_told(self.node.exchange.listed())

    @rule()
    def balances(self) -> None:
        self.node.take(lambda at: events.BalancesTold(at, {"USD": D(1000)}))

    # The owner.

    @rule(changes=tight)
    def changes_the_policy(self, changes: dict[str, Any]) -> None:
        self.node.written_policy = self.policy(changes)
        self.node.read_policy()

    @rule(trouble=st.sampled_from(sorted(TROUBLES)), lasts=st.booleans())
    def trouble(self, trouble: str, lasts: bool) -> None:
        """New risk is stopped, by whoever can."""
        self.node.stop(trouble)
        if not lasts:
            self.node.go_on()

    @rule(everything=st.booleans())
    def goes_on(self, everything: bool) -> None:
        """The owner resumes, or whatever stopped new risk is over but for what the day lost."""
        self.node.go_on(everything=everything)

    @rule(flatten=st.booleans(), how=st.sampled_from(["command", "file"]), lasts=st.booleans())
    def stops(self, flatten: bool, how: str, lasts: bool) -> None:
        """The kill switch; its file may be gone before all is done."""
        if how == "command":
            self.node.kill_switch(flatten=flatten)
        else:
            self.node.stop_file(there=True, flatten=flatten)
            if not lasts:
                self.node.stop_file(there=False)

    @rule(asked=orders, kind=kinds)
    def wants(self, asked: dict[str, Any], kind: dict[str, Any]) -> None:
        """An order by hand."""
        self.node.names += 1
        name = f"{self.node.names:032x}"
        request = OrderRequest(
            name,
            asked["symbol"],
            Side(asked["side"]),
            OrderType(kind["type"]),
            D(asked["amount"]),
            price=D(kind["price"]) if "price" in kind else None,
            stop_price=D(kind["stop_price"]) if "stop_price" in kind else None,
            reduce_only=asked.get("reduce_only", False),
        )
        self.node.books.by_hand.add(name)
        self.node.take(lambda at: events.OwnerWants(at, asked["exchange"], request))

    @rule(data=st.data())
    def cancels(self, data: st.DataObject) -> None:
        name = self.pick(data, self.node.books.decided)
        if name is not None:
            self.node.take(lambda at: events.OwnerCancels(at, name))

    # Crashes, and peace.

    @rule(where=deaths, sent_arrives=st.booleans())
    def will_die(self, where: str, sent_arrives: bool) -> None:
        """In its next step."""
        self.node.dies, self.node.arrives_at_death = where, sent_arrives

    @rule(later=afterwards, sent_arrives=st.booleans(), again=st.sampled_from([None, None, *DEATHS]))
    def crash(self, later: float, sent_arrives: bool, again: str | None) -> None:
        """Killed, and started again from the journal alone; perhaps killed once more while it starts."""
        self.node.now += timedelta(seconds=later)
        self.node.exchange.settle(self.node.now)
        self.node.dies, self.node.arrives_at_death = again, sent_arrives
        self.node.crash()

    @rule()
    def all_is_quiet(self) -> None:
        """When everybody answers the node knows every order, and the kill switch comes to its end."""
        self.node.dies = None
        self.node.goes_quiet()
        lost = [order for order in self.node.state.live if order.client_order_id not in self.node.exchange.open]
        assert not lost, "an order is not known, though everybody has answered"
        assert self.node.books.flatten is None

    # What always holds.

    @invariant()
    def events_have_no_gap(self) -> None:
        assert self.node.seqs == list(range(1, len(self.node.seqs) + 1))

    @invariant()
    def positions_are_what_the_fills_come_to(self) -> None:
        ours = {symbol: held.amount for symbol, held in self.node.state.holdings.items() if held.amount}
        assert ours == {symbol: amount for symbol, amount in self.node.books.position.items() if amount}

    @invariant()
    def the_journal_rebuilds_the_state(self) -> None:
        state, rebuilt = self.node.state, self.node.journal.restore()
        assert rebuilt.next_seq == state.next_seq
        assert rebuilt.holdings == state.holdings
        assert rebuilt.strategy_books == state.strategy_books
        assert rebuilt.pauses.keys() == state.pauses.keys()
        assert dict(rebuilt.orders) == dict(state.orders)
        assert (rebuilt.market_at, rebuilt.prices, rebuilt.day) == (state.market_at, state.prices, state.day)
        assert sorted(rebuilt.placed) == sorted(state.placed)
        assert (rebuilt.windup is None) == (state.windup is None)


TestOwner = Owner.TestCase
TestOwner.settings = settings(
    max_examples=300,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

"""A node between a server, an exchange, a market and crashes: `Driven` drives the core as the loop does, and checks it.

Every order is held against the test's own books when the journal has it, and again whenever it goes out. A crash comes
between two steps, before an append, or between an append and what was to follow it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from node_agent.core import effects, events
from node_agent.core.amounts import whole_steps
from node_agent.core.engine import step
from node_agent.core.events import CoreEvent, Failure, Lookup
from node_agent.core.market import Conduct, ExchangeStatus, Fill, OpenOrder, Side
from node_agent.core.orders import OrderState
from node_agent.core.policy import Policy
from node_agent.core.state import HALTING
from node_agent.core.turn import shifted
from node_agent.journal import Journal
from node_agent.strategies import MaTrend
from node_protocol.encoding import format_time
from node_protocol.messages import Command
from tests.node.limits_books import Books
from tests.node.limits_exchange import LateExchange
from tests.node.values import MARKETS, START, candle

RAM = Path("/dev/shm")
SYMBOLS = tuple(MARKETS)
_A_MOMENT = timedelta(milliseconds=1)


TROUBLES: Final[Mapping[str, Callable[[datetime], CoreEvent]]] = MappingProxyType(
    {
        "owner": lambda at: events.OwnerPaused(at, "so"),
        "suspended": lambda at: events.Suspended("a fork", at),
        "policy_unreadable": lambda at: events.PolicyUnreadable(at, "a typo"),
        "key_refused": lambda at: events.KeyRefused(at, "no"),
        "clock_drift": lambda at: events.ClockCompared(at, 3.0),
    }
)
"""What stops new risk, by the name that the books have for it."""


def nothing() -> None:
    """What an event tells that the books need not know."""


class Driven:
    """A node, its exchange, and the books that the test keeps of both."""

    def __init__(self, policy: Policy, *, live_market: bool = False, conduct: Conduct | None = None) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=RAM if RAM.is_dir() else None)
        self.journal = Journal.open(Path(self.folder.name) / "journal.sqlite3")
        self.journal.put_fact("origin", "0" * 32)  # not by chance, so that an example runs twice the same way
        self.exchange = LateExchange(conduct or Conduct())
        self.now: datetime = START
        self.books = Books(policy, live_market, START)
        self.written_policy = policy
        """What the owner's file says now."""
        self.minute = 0
        self.seqs: list[int] = []
        self.asked: list[effects.Effect] = []
        """Requests to the exchange that it has not answered."""
        self.looks: list[events.LookedFor] = []
        """What the exchange found, and has not told yet."""
        self.dies: str | None = None
        """Where in its next step the process is killed: `before append`, `after append`."""
        self.arrives_at_death = True
        self.seen_at = START
        self.synced = False
        self.names = 0
        self.start()
        for symbol in SYMBOLS:
            self.tick(symbol, "100", 1)

    def close(self) -> None:
        self.journal.close()
        self.folder.cleanup()

    # The process.

    def start(self) -> None:
        """From the journal alone, as the loop does it."""
        self.asked, self.looks = [], []
        self.state = self.journal.restore()
        self.books.unknown.clear()
        lookups = {each.client_order_id: self.found(each.client_order_id) for each in self.state.live}
        missed = tuple(each for each in self.exchange.fills if not self.journal.has_fill(each))
        trend = tuple(MaTrend(symbol, 1, 2, D(250), name=f"trend-{symbol}") for symbol in SYMBOLS)

        def learn() -> None:
            self.seen_at = self.seen_at if self.synced else self.now
            self.books.see_policy(self.written_policy)
            for each in missed:
                self.books.see_fill(each)

        self.take(
            lambda at: events.Started(
                at,
                "0.1.0",
                "live" if self.books.live_market else "paper",
                "paper",
                self.written_policy,
                MARKETS,
                lookups,
                missed,
                strategies=trend,
                conduct=self.exchange.conduct,
                reports_to_server=True,
                server_ahead=self.books.ahead,
            ),
            learn,
        )
        not_done = tuple(self.journal.commands_not_done())
        if not_done:
            self.take(lambda at: events.CommandsArrived(not_done, at))

    def crash(self) -> None:
        """Killed, and started again; requests on their way arrive, or never will where none can be late."""
        for name in [each.request.client_order_id for each in self.exchange.wire]:
            (self.exchange.arrives if self.arrives_at_death else self.exchange.is_lost)(name)
        self.start()

    def take(self, event_at: Callable[[datetime], CoreEvent], learn: Callable[[], None] = nothing) -> None:
        """One step. `learn` tells the books what the event tells the node."""
        self.now += _A_MOMENT
        self.exchange.settle(self.now)
        dies, self.dies = self.dies, None
        if dies == "before append":
            self.crash()
            return
        self.books.see_time(self.now)
        stopped_before = set(self.books.stopped)
        learn()
        self.state, wanted = step(self.state, event_at(self.now))
        assert not any(isinstance(each, effects.Append) for each in wanted[1:]), "an append after something was done"
        for effect in wanted:
            if isinstance(effect, effects.Append):
                self.journal.append(effect)
                self._read(effect)
            elif isinstance(effect, effects.Remember):
                self.journal.put_facts(effect.facts)
            elif dies is None:
                self._carry_out(effect)
        self._kill_switch_may_be_done()
        if HALTING & (self.books.stopped - stopped_before):
            self._nothing_that_adds_risk_is_left_alone()
        if dies is not None:
            self.crash()

    def _read(self, append: effects.Append) -> None:
        """What the node has written down: orders to be sent, and orders that have ended."""
        self.seqs += [each.seq for each in append.events]
        for order in append.orders:
            name = order.client_order_id
            if order.state is OrderState.SUBMITTING or order.ended:
                self.books.unknown.discard(name)
            if order.ended and name in self.books.decided and name not in self.books.ended:
                self._may_end(name)
                self.books.ended.add(name)
        for order in append.orders:
            if order.tries_to_trade and order.client_order_id not in self.books.decided:
                self.books.decide(order)

    def _may_end(self, name: str) -> None:
        """An order ends in the node's books when it can trade no more, and its trades are told."""
        assert name not in self.exchange.open, "ended in the node's books, and open at the exchange"
        assert not self.exchange.on_its_way(name), "given up while it may still arrive"
        untold = [each for each in self.exchange.fills if each.client_order_id == name]
        assert all(each.trade_id in self.books.fills for each in untold), "ended before its trades were known"

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Submit():
                name = effect.request.client_order_id
                written = {order.client_order_id: order for order in self.journal.open_orders()}
                assert name in written, "sent before it was written down"
                assert written[name].state is OrderState.SUBMITTING
                if self.books.decided[name].at != self.now:
                    self.books.send_again(effect.request)
                self.exchange.send(effect.request, self.now)
            case effects.Cancel():
                assert effect.client_order_id in self.books.decided, "a stranger's order is cancelled"
        self.asked.append(effect)

    @staticmethod
    def sends(effect: effects.Effect) -> str | None:
        """The client order id that a request wants placed; None when it wants something else."""
        return effect.request.client_order_id if isinstance(effect, effects.Submit) else None

    def _kill_switch_may_be_done(self) -> None:
        if self.books.flatten is None or self.state.windup is not None:
            return
        assert not self.books.live, "the kill switch is done, and orders are open"
        assert not self.exchange.open
        assert not self.exchange.wire
        assert not (self.books.flatten and self.positions()), "the kill switch is done, and positions are open"
        self.books.flatten = None

    def _nothing_that_adds_risk_is_left_alone(self) -> None:
        """Halted: what is not being cancelled is no more than the position."""
        orders = self.state.orders
        for symbol in SYMBOLS:
            for side in Side:
                left = [
                    each
                    for each in self.books.live
                    if (each.symbol, each.side) == (symbol, side)
                    and orders[each.client_order_id].state is not OrderState.CANCELLING
                    and not orders[each.client_order_id].cancel_wanted
                ]
                size = sum((self.books.open(each) for each in left), D(0))
                assert size <= self.books.covered(symbol, side), "halted, and an order that adds risk stays"

    def positions(self) -> dict[str, D]:
        """Positions that the market takes an order for."""
        sizes = {name: whole_steps(abs(amount), MARKETS[name]) for name, amount in self.books.position.items()}
        return {
            name: size for name, size in sizes.items() if size * self.books.last[name] >= MARKETS[name].minimum_notional
        }

    # What happens.

    def arrive(
        self, type_: str, data: Mapping[str, Any], lives: timedelta, issued: timedelta = timedelta(0)
    ) -> Command:
        """A command of the server, issued so long before its own now."""
        self.names += 1
        made = self.now + self.books.ahead - issued
        command = Command(id=f"cmd_{self.names}", issued_at=made, expires_at=made + lives, type=type_, data=dict(data))
        self.arrived(command)
        return command

    def arrived(self, command: Command) -> None:
        """A command in a verified answer; one that is known is not told to the node."""
        self.books.commands[command.id] = command
        new = self.journal.record_answer(ticket="t", acked_through=0, commands=[command], at=self.now)
        if new:
            self.take(lambda at: events.CommandsArrived(tuple(new), at), lambda: self._hears(command))

    def _hears(self, command: Command) -> None:
        """A switch that is obeyed."""
        in_time = command.expires_at - self.now > self.books.ahead
        taken = in_time and command.type in self.books.policy.server_commands
        if taken and not command.data and command.type == "trading.pause":
            self.books.stopped.add("server")
        if taken and not command.data and command.type == "trading.resume":
            self.books.stopped.discard("server")

    def tick(self, symbol: str, price: str, minutes: int, late: timedelta = timedelta(0)) -> None:
        """A candle closes, at an exchange `late`; on a recording minutes pass in a second."""
        self.now += timedelta(minutes=minutes) if self.books.live_market else timedelta(seconds=1)
        self.minute += minutes
        close = candle(self.minute, price, symbol)
        if self.books.live_market:
            close = replace(close, at=self.now - close.interval - late)
        self.take(lambda at: events.CandleClosed(at, close), lambda: self.books.see_candle(close))

    def fill(self, name: str, amount: D, price: str | None = None) -> None:
        """So much of an order trades, at the last price, and the node is not told yet."""
        symbol = self.books.decided[name].request.symbol
        self.exchange.trades(name, amount, D(price) if price else self.books.last[symbol])

    def tell_fills(self) -> None:
        """The exchange tells every fill that the node does not know of."""
        for made in [each for each in self.exchange.fills if each.trade_id not in self.books.fills]:
            self.tell_fill(made)

    def tell_fill(self, made: Fill) -> None:
        """The exchange tells a fill, perhaps not for the first time."""
        self.take(lambda at: events.FillTold(at, made), lambda: self.books.see_fill(made))

    def tell(self, name: str) -> None:
        """The exchange tells how an order stands."""
        told = self.exchange.told(name)
        if told is not None:
            self.take(lambda at: events.OrderTold(at, told), lambda: self.books.unknown.discard(name))

    def tell_found(self, name: str, found: Lookup) -> None:
        """What the exchange found under an id is told."""
        learn = nothing if found.order is None else lambda: self.books.unknown.discard(name)
        self.take(lambda at: events.LookedFor(at, name, found), learn)

    def found(self, name: str) -> Lookup:
        """What the exchange finds under an id now."""
        return Lookup(self.exchange.told(name), asked_at=self.now)

    def sync(self, ahead: timedelta) -> None:
        """The server accepts a sync, and tells its time by it."""
        facts = {"last_sync_at": format_time(shifted(self.now, ahead)), "clock_offset": int(ahead.total_seconds())}
        self.journal.put_facts(facts)

        def learn() -> None:
            self.books.stopped -= {"suspended", "server_silence"}

        # As the uplink does: what is written down before the core hears of it outlives a crash between the two.
        self.seen_at, self.synced, self.books.ahead = self.now, True, ahead
        self.take(lambda at: events.ServerSeen(at, ahead), learn)

    def second(self) -> None:
        """The loop's tick; too long a silence of the server counts from it."""
        policy = self.books.policy

        def learn() -> None:
            limit = policy.server_silence
            if limit is None:
                self.books.stopped.discard("server_silence")
            if limit is None or self.now - self.seen_at <= limit or "server_silence" in self.books.stopped:
                return
            self.books.stopped.add("server_silence")
            if policy.on_server_silence != "pause":
                self.winds_up(flatten=policy.on_server_silence == "flatten")

        self.take(events.Tick, learn)

    def stop(self, trouble: str) -> None:
        """New risk is stopped, for one more reason."""
        self.take(TROUBLES[trouble], lambda: self.books.stopped.add(trouble))

    def go_on(self, *, everything: bool = True) -> None:
        """The owner resumes, which calls the kill switch off; with `everything` all else that stopped it is over."""

        def learn() -> None:
            self.books.stopped -= {"owner", "server", "stopped_by_owner"}
            self.books.flatten = None

        self.take(events.OwnerResumed, learn)
        if not everything:
            return
        self.stop_file(there=False)
        self.sync(self.books.ahead)
        self.read_policy()
        self.take(lambda at: events.ClockCompared(at, -1.9), lambda: self.books.stopped.discard("clock_drift"))
        self.list_is_told(self.exchange.listed())

    def read_policy(self) -> None:
        """The owner's file is read."""
        policy = self.written_policy
        self.take(lambda at: events.PolicyRead(at, policy), lambda: self.books.see_policy(policy))

    def list_is_told(self, told: tuple[OpenOrder, ...]) -> None:
        """The exchange tells what is open on the account."""

        def learn() -> None:
            self.books.foreign = tuple(each for each in told if not each.order.client_order_id)
            self.books.stopped.discard("key_refused")

        self.take(lambda at: events.OpenOrdersTold(at, told), learn)

    def kill_switch(self, *, flatten: bool) -> None:
        """The owner stops everything."""

        def learn() -> None:
            self.books.stopped.add("stopped_by_owner")
            self.winds_up(flatten=flatten)

        self.take(lambda at: events.OwnerStops(at, flatten, False, "enough"), learn)

    def stop_file(self, *, there: bool, flatten: bool = False) -> None:
        """A file STOP is in the data directory, or is gone."""

        def learn() -> None:
            if there and (flatten or "stop_file" not in self.books.stopped):
                self.winds_up(flatten=flatten)
            (self.books.stopped.add if there else self.books.stopped.discard)("stop_file")

        self.take(lambda at: events.StopFile(at, there, flatten), learn)

    def winds_up(self, *, flatten: bool) -> None:
        """The kill switch is asked for."""
        self.books.flatten = flatten or bool(self.books.flatten)

    def is_due(self, name: str) -> None:
        """The time that the node asked for has passed."""
        self.take(lambda at: events.Due(at, name))

    def goes_quiet(self) -> None:
        """Everybody answers, honestly and at once, until nothing is left to be answered."""
        for _ in range(20):
            while self.asked or self.exchange.wire:
                for each in list(self.exchange.wire):
                    self.exchange.arrives(each.request.client_order_id)
                asked, self.asked = self.asked, []
                for effect in asked:
                    self._answer(effect)
            for name in self.exchange.open:
                if self.exchange.orders[name].request.reduce_only:
                    self.fill(name, self.exchange.orders[name].request.amount)
            self.tell_fills()
            self.list_is_told(self.exchange.listed())
            for order in self.state.live:
                self.is_due(order.client_order_id)
            self.now += timedelta(seconds=61)
            self.second()
            quiet = all(order.client_order_id in self.exchange.open for order in self.state.live)
            if quiet and not self.asked:
                break

    def _answer(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Submit():
                name = effect.request.client_order_id
                self.tell(name)
                if name not in self.exchange.orders:
                    self.take(lambda at: events.SubmitFailed(at, name, Failure.UNKNOWN, "no answer"))
            case effects.Cancel():
                if effect.client_order_id in self.exchange.orders:
                    self.exchange.ends(effect.client_order_id, ExchangeStatus.CANCELLED)
                self.tell(effect.client_order_id)
            case effects.LookFor():
                name = effect.client_order_id
                self.tell_found(name, self.found(name))

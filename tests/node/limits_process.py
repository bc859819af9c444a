"""A node as the loop drives it, checked at every step by the test's own books.

Every order is held against them when the journal has it, and again whenever it goes out. A crash comes between two
steps, before an append, or between an append and what was to follow it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

from node_agent.core import effects, events
from node_agent.core.amounts import whole_steps
from node_agent.core.engine import step
from node_agent.core.events import CoreEvent, Lookup
from node_agent.core.market import Conduct, Side
from node_agent.core.orders import OrderState
from node_agent.core.policy import Policy
from node_agent.core.state import HALTING
from node_agent.journal import Journal
from node_agent.strategies import MaTrend
from tests.node.limits_books import Books
from tests.node.limits_exchange import LateExchange
from tests.node.values import MARKETS, START

RAM = Path("/dev/shm")
SYMBOLS = tuple(MARKETS)
_A_MOMENT = timedelta(milliseconds=1)


def nothing() -> None:
    """What an event tells that the books need not know."""


class Process:
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
        self.started_at = START
        self.synced = False
        self.names = 0
        self.start()

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
            self.started_at = self.now
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
                    self._may_be_sent_again(name)
                self.exchange.send(effect.request, self.now)
            case effects.Cancel():
                assert effect.client_order_id in self.books.decided, "a stranger's order is cancelled"
        self.asked.append(effect)

    def _may_be_sent_again(self, name: str) -> None:
        """Where requests can be late, or ids be taken twice, the first must be known to have come to nothing."""
        conduct = self.exchange.conduct
        if conduct.settles_within:
            assert not self.exchange.on_its_way(name), "sent again while it may still arrive"
        if not conduct.ids_unique_for_ever:
            assert name not in self.exchange.orders, "sent again although the exchange has it"

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

    def found(self, name: str) -> Lookup:
        """What the exchange finds under an id now."""
        return Lookup(self.exchange.told(name), asked_at=self.now)

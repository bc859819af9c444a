"""What may happen to a node: its server, its exchange, its market and its owner, as a test lets them act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from types import MappingProxyType
from typing import Any, Final

from node_agent.core import effects, events
from node_agent.core.events import CoreEvent, Failure, Lookup
from node_agent.core.market import Conduct, ExchangeStatus, Fill, OpenOrder
from node_agent.core.orders import OrderState
from node_agent.core.policy import Policy
from node_agent.core.turn import shifted
from node_protocol.encoding import format_time
from node_protocol.messages import Command
from tests.node.limits_process import SYMBOLS, Process, nothing
from tests.node.values import candle

FIRST_WORD: Final = timedelta(seconds=30)
"""How long a process that has begun waits for the server's first word."""
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


class Driven(Process):
    """A node to which anything may happen; the books are told what it may know."""

    def __init__(self, policy: Policy, *, live_market: bool = False, conduct: Conduct | None = None) -> None:
        super().__init__(policy, live_market=live_market, conduct=conduct)
        for symbol in SYMBOLS:
            self.tick(symbol, "100", 1)

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

    def submit_fails(self, name: str, failure: Failure, looked_for_after: int | None) -> None:
        """A request fails, or we do not know; perhaps the order is looked for, or sent again, a little later."""
        surely_not = failure is not Failure.UNKNOWN
        if surely_not and (name in self.exchange.orders or len(self.exchange.on_its_way(name)) != 1):
            return
        self.asked = [each for each in self.asked if self.sends(each) != name]
        if surely_not:
            self.exchange.wire = [each for each in self.exchange.wire if each.request.client_order_id != name]
        else:
            self.exchange.is_lost(name)
        known = name in self.exchange.orders and self.state.orders[name].state is not OrderState.SUBMITTING
        learn = nothing if surely_not or known else lambda: self.books.unknown.add(name)
        self.take(lambda at: events.SubmitFailed(at, name, failure, "so"), learn)
        if looked_for_after is not None:
            self.now += timedelta(seconds=looked_for_after)
            self.exchange.settle(self.now)
            self.tell_found(name, self.found(name))
            self.is_due(name)

    def tell_found(self, name: str, found: Lookup) -> None:
        """What the exchange found under an id is told."""
        learn = nothing if found.order is None else lambda: self.books.unknown.discard(name)
        self.take(lambda at: events.LookedFor(at, name, found), learn)

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
            if self.now - self.started_at <= min(limit, FIRST_WORD):
                return
            self.books.stopped.add("server_silence")
            if policy.on_server_silence != "pause":
                self.winds_up("server_silence", flatten=policy.on_server_silence == "flatten")

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
            self.winds_up("stopped_by_owner", flatten=flatten)

        self.take(lambda at: events.OwnerStops(at, flatten, False, "enough"), learn)

    def stop_file(self, *, there: bool, flatten: bool = False) -> None:
        """A file STOP is in the data directory, or is gone."""

        def learn() -> None:
            if there and (flatten or "stop_file" not in self.books.stopped):
                self.winds_up("stop_file", flatten=flatten)
            if not there and self.books.wanted_by == {"stop_file"}:
                self.books.flatten = None
            (self.books.stopped.add if there else self.books.stopped.discard)("stop_file")

        self.take(lambda at: events.StopFile(at, there, flatten), learn)

    def winds_up(self, rule: str, *, flatten: bool) -> None:
        """The kill switch is asked for."""
        self.books.wanted_by = {rule} if self.books.flatten is None else self.books.wanted_by | {rule}
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

"""The only loop: takes events, calls `step`, carries the effects out in order, and watches over every task.

An append is on the disk before the next effect begins; when it cannot be written nothing further is done and the
process ends. Requests to the exchange run beside the loop, so that a slow one holds up no command, and come back as
events. A task that dies ends the process with its reason: nothing of the node stops silently.

The exchange is asked how things stand before anything new is decided; what the owner says is taken meanwhile, however
long it is away.

Stopping, within five seconds: `node.stopping` is written, no new order is made, answers under way are waited for and
written, the uplink gets one last try, everything is closed. Orders stay at the exchange.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from node_agent import facts
from node_agent.core import effects, events
from node_agent.core.engine import step
from node_agent.core.events import CoreEvent
from node_agent.core.orders import Order
from node_agent.core.policy import Policy
from node_agent.core.state import State
from node_agent.desk import Desk
from node_agent.exchanges.port import Exchange
from node_agent.journal import Journal
from node_agent.parts import Parts
from node_agent.strategies import Strategy
from node_protocol.messages import Event

_FIRST_PRICE_SECONDS: Final = 3.0
_DRAIN_SECONDS: Final = 1.2
_LAST_SYNC_SECONDS: Final = 1.8
_CLOSE_SECONDS: Final = 0.4
_TICK_SECONDS: Final = 1.0

_BEFORE_START: Final = (
    events.OwnerPaused,
    events.OwnerResumed,
    events.OwnerStops,
    events.OwnerCancels,
    events.OwnerGivesUp,
    events.ServerSeen,
    events.Suspended,
    events.KeyRefused,
    events.KeyJudged,
    events.SubmitFailed,
    events.CancelFailed,
    events.OrderTold,
    events.LookedFor,
    events.Due,
    events.Stopping,
)
"""What is taken at once, though the exchange has not said yet how things stand: nothing new comes of it."""

_log = structlog.get_logger("node")


@dataclass(frozen=True, slots=True)
class _Asked:
    """An event, and who waits until it has been taken."""

    event: CoreEvent
    taken: asyncio.Future[State]


class UplinkPort(Protocol):
    """What the loop asks of the channel to the server."""

    async def run(self) -> None:
        """Speak with the server until cancelled."""

    def wake(self) -> None:
        """There is something to say."""

    async def close(self, final_sync: bool) -> None:
        """Let go of it, after one last try to say what is left."""


@runtime_checkable
class KeyRotator(Protocol):
    """An uplink that can also rotate the node's key."""

    async def rotate_key(self) -> str | None:
        """Section 2.2 of the protocol. Returns why it came to nothing; None when the new key is in use."""


class Runner:
    """One node, from the start to the end of its process. Must be made inside a running event loop's program."""

    def __init__(
        self,
        *,
        journal: Journal,
        exchange: Exchange,
        policy: Policy,
        strategies: Sequence[Strategy],
        version: str,
        mode: str,
        clock: Callable[[], datetime],
        news: Callable[[datetime], Iterable[CoreEvent]] = lambda at: (),
        unreadable: str | None = None,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`news` says, whenever it is asked, what the owner changed since. `unreadable`: why there are no limits.

        `admit` returns when the exchange may be asked about orders at all, or raises for why it never may be.
        """
        self._admit = admit
        self._unreadable = unreadable
        self._news = news
        self._journal = journal
        self._policy = policy
        self._strategies = tuple(strategies)
        self._version = version
        self._mode = mode
        self._clock = clock
        self._desk = Desk(exchange, deliver=self.deliver, clock=clock, limited=self.note_line)
        self._uplink: UplinkPort | None = None
        self._state: State = journal.restore()
        self._queue: asyncio.Queue[CoreEvent | _Asked | Exception] = asyncio.Queue()
        self._extra: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._parts = Parts(self._fail)
        self._starting: asyncio.Task[list[CoreEvent]] | None = None
        self._failure: Exception | None = None
        self._ahead: float | None = None
        self._stopping = False
        self._begun = False
        self._early: list[events.CommandsArrived] = []
        self._patient_until = float("-inf")

    def attach(self, uplink: UplinkPort) -> None:
        """Report to a server. Without one the node trades all the same, and keeps its reports."""
        self._uplink = uplink

    def add(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have one more part of the node run beside the loop, as long as it does."""
        self._extra.append((name, work))

    @property
    def state(self) -> State:
        """The node as it is now."""
        return self._state

    async def settle(self, event: CoreEvent) -> State:
        """Have an event taken; the node as it is then, all of it written down."""
        taken: asyncio.Future[State] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Asked(event, taken))
        return await taken

    def deliver(self, event: CoreEvent) -> None:
        """Have an event taken, after those before it."""
        self._queue.put_nowait(event)

    def stop(self, reason: str) -> None:
        """End in order. Asking again changes nothing."""
        if self._stopping:
            return
        self._stopping = True
        self._parts.ends()
        if self._starting is not None:
            self._starting.cancel()
        self.deliver(events.Stopping(self._clock(), reason))

    def status(self) -> dict[str, Any]:
        """How the node is, for the server."""
        return {
            "version": self._version,
            "mode": self._mode,
            "exchange": self._desk.name,
            "rate_limits": self._desk.rate_limits,
            **facts.of_health(self._state, self._clock()),
        }

    async def run(self) -> None:
        """Trade until asked to stop, by `stop` or by SIGTERM or SIGINT. Raises JournalError or NodeFailed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number.name)
        in_order = False
        try:
            await self._trade()
            in_order = True
        finally:
            await self._close(final_sync=in_order)

    async def _trade(self) -> None:
        missed = tuple(self._journal.commands_not_done())
        loop = asyncio.get_running_loop()
        if self._uplink is not None:
            self._parts.watch("uplink", self._uplink.run())
        for name, work in self._extra:
            self._parts.watch(name, work())
        held = await self._held_until_started()
        if held is None:
            return
        self._patient_until = loop.time() + _FIRST_PRICE_SECONDS
        self._parts.later(_FIRST_PRICE_SECONDS, self._take_early)
        if missed:
            self._take(events.CommandsArrived(missed, self._clock()))
        for item in held:
            self._take(self._of_now(item))
        follow = self._desk.follow(taken=self._queue.join, live=lambda: (self._live(), self._fills_wanted_since()))
        self._parts.watch("market stream", follow, may_end=True)
        self._parts.watch("survey of the account", self._desk.survey())
        self._tick()
        while not self._state.stopping:
            self._take(await self._queue.get())
            self._queue.task_done()
        await self._drain()

    async def _held_until_started(self) -> list[CoreEvent | _Asked] | None:
        """Asks the exchange how things stand, and begins; what came meanwhile and must wait for that.

        None when the node was stopped before the exchange could say.
        """
        held: list[CoreEvent | _Asked] = []
        self._starting = asyncio.create_task(self._ask_at_start())
        while not self._starting.done():
            getting = asyncio.create_task(self._queue.get())
            await asyncio.wait((self._starting, getting), return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                continue
            self._take_or_hold(getting.result(), held)
        while not self._queue.empty():
            self._take_or_hold(self._queue.get_nowait(), held)
        if self._failure is not None:
            raise self._failure
        if self._starting.cancelled() or self._stopping:
            return None
        self._begin(self._starting.result())
        return held

    def _take_or_hold(self, item: CoreEvent | _Asked | Exception, held: list[CoreEvent | _Asked]) -> None:
        self._queue.task_done()
        event = item.event if isinstance(item, _Asked) else item
        if isinstance(item, Exception) or isinstance(event, _BEFORE_START):
            self._take(item)
        else:
            held.append(item)

    def _begin(self, told: Iterable[CoreEvent]) -> None:
        """What the owner changed while the exchange was asked goes first: what it told may have orders sent again."""
        self._begun = True
        self._journal.put_fact("run", {**(self._journal.fact("run") or {}), "begun": True})
        for news in self._news(self._clock()):
            if isinstance(news, events.PolicyRead):
                self._policy, self._unreadable = news.policy, None
            elif isinstance(news, events.PolicyUnreadable):
                self._unreadable = news.reason
            else:
                self._step(news)
        for event in told:
            if isinstance(event, events.Started):
                event = replace(event, policy=self._policy, unreadable=self._unreadable)  # noqa: PLW2901
            self._step(event)

    async def _ask_at_start(self) -> list[CoreEvent]:
        if self._admit is not None:
            await self._admit()
        markets = await self._desk.markets()
        self._desk.know(
            (each.client_order_id, each.exchange_order_id)
            for each in self._state.orders.values()  # fills of those that have ended are told again, too
            if each.exchange_order_id is not None
        )
        open_orders = await self._desk.open_orders()
        lookups = await self._desk.lookups(self._live(), open_orders)
        fills = await self._desk.fills_since(self._fills_wanted_since())
        started = events.Started(
            at=self._clock(),
            version=self._version,
            mode=self._mode,
            exchange=self._desk.name,
            policy=self._policy,
            markets=markets,
            lookups=lookups,
            fills=tuple(fill for fill in fills if not self._journal.has_fill(fill)),
            strategies=self._strategies,
            can_rotate_key=isinstance(self._uplink, KeyRotator),
            conduct=self._desk.conduct,
            reports_to_server=self._uplink is not None,
            server_ahead=timedelta(seconds=int(self._journal.fact("clock_offset") or 0)),
        )
        return [started] if open_orders is None else [started, open_orders]

    def _fills_wanted_since(self) -> datetime | None:
        """From the last fill on; before the first one from the first order on. None when that is not known."""
        last = self._journal.last_fill_at()
        if last is not None:
            return last
        placed = [order.market_at for order in self._state.orders.values() if order.tries_to_trade]
        return min((at for at in placed if at is not None), default=self._clock()) if None not in placed else None

    def _of_now(self, item: CoreEvent | _Asked) -> CoreEvent | _Asked:
        """What waited for the exchange at a start: it is judged by the time that it is now."""
        if isinstance(item, _Asked):
            return replace(item, event=replace(item.event, at=self._clock()))
        return replace(item, at=self._clock())

    def _take(self, item: CoreEvent | _Asked | Exception) -> None:
        if isinstance(item, Exception):
            raise item
        if self._begun:
            for news in self._news(self._clock()):
                self._step(news)
        if isinstance(item, _Asked):
            self._step(item.event)
            if not item.taken.done():
                item.taken.set_result(self._state)
        else:
            self._step(item)

    def _step(self, event: CoreEvent) -> None:
        if isinstance(event, events.FillTold) and self._journal.has_fill(event.fill):
            return
        if isinstance(event, events.CommandsArrived):
            if self._too_early():
                self._early.append(event)
                return
            early, self._early = self._early, []
            for before in early:
                self._step(replace(before, at=event.at))
        if isinstance(event, events.ClockCompared):
            self._ahead = event.ahead
            self.note_line()
        state, wanted = step(self._state, event)
        for effect in wanted:
            self._carry_out(effect)
        self._state = state
        for effect in wanted:
            if isinstance(effect, effects.Append) and effect.events:
                # Behind what was just begun: an order is not to wait for its own log line.
                asyncio.get_running_loop().call_soon(self._tell, effect.events)
        if isinstance(event, events.CandleClosed):
            self._take_early()

    def note_line(self) -> None:
        """Write down how it is with the exchange, a ban above all: the next process has to keep it too."""
        self._journal.put_fact("line_to_exchange", {"ahead": self._ahead, **self._desk.rate_limits})

    def _too_early(self) -> bool:
        """Whether the market, at a start, has still to tell a price that is new enough to weigh an order by."""
        oldest = self._clock() - self._state.policy.max_data_age
        priced = any(at >= oldest for at in self._state.priced_at.values())
        return not priced and asyncio.get_running_loop().time() < self._patient_until

    def _take_early(self) -> None:
        if self._early:  # those that come behind are not to overtake them
            self.deliver(events.CommandsArrived((), self._clock()))

    def _tell(self, told: Iterable[Event]) -> None:
        for event in told:
            _log.info(event.type, seq=event.seq, data=event.data)
        if self._uplink is not None:
            self._uplink.wake()

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Append():
                self._journal.append(effect)
            case effects.Remember():
                self._journal.put_facts(effect.facts)
            case effects.After():
                name = effect.client_order_id
                self._parts.later(effect.seconds, lambda: self.deliver(events.Due(self._clock(), name)))
            case effects.End():
                self.stop(effect.reason)
            case effects.RotateKey():
                self._parts.call(self._rotate_key(effect.command_id))
            case _:
                self._parts.call(self._desk.ask(effect))

    async def _rotate_key(self, command_id: str) -> None:
        uplink = self._uplink
        failed = await uplink.rotate_key() if isinstance(uplink, KeyRotator) else "there is no server"
        self.deliver(events.KeyRotationEnded(self._clock(), command_id, failed))

    def _live(self) -> Iterable[Order]:
        return self._state.live

    def _tick(self) -> None:
        """Let the core know that time passes, whatever else happens."""

        def passed() -> None:
            self.deliver(events.Tick(self._clock()))
            self._tick()

        self._parts.later(_TICK_SECONDS, passed)

    def _fail(self, failure: Exception) -> None:
        """End the node for this, wherever it is."""
        self._failure = self._failure or failure
        self._queue.put_nowait(failure)
        if self._starting is not None:
            self._starting.cancel()

    async def _drain(self) -> None:
        """Wait for answers that are under way, and write them down."""
        self._parts.stop_timers()
        await self._parts.take_back("market stream")
        await self._parts.take_back("survey of the account")
        deadline = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        while await self._parts.answered(deadline):
            while not self._queue.empty():
                self._take(self._queue.get_nowait())

    async def _close(self, *, final_sync: bool) -> None:
        await self._parts.take_all_back()
        if self._uplink is not None:
            await _bounded("the last sync", self._uplink.close(final_sync=final_sync), _LAST_SYNC_SECONDS)
        await _bounded("closing the exchange", self._desk.close(), _CLOSE_SECONDS)


async def _bounded(what: str, work: Awaitable[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        _log.warning("given up", what=what, seconds=seconds)

"""The exchange as the loop sees it: requests go out beside the loop and come back as events; its stream is followed.

Nothing is decided here. An answer that does not come in time counts as unknown, never as no.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar, assert_never

import structlog

from node_agent.core import effects, events
from node_agent.core.events import CoreEvent, Failure, Lookup
from node_agent.core.market import Candle, Conduct, ExchangeOrder, Fill, Market, OrderRequest
from node_agent.core.orders import Order
from node_agent.exchanges.port import (
    Exchange,
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    RateLimited,
    TooSmall,
    Update,
)

_ANSWER_SECONDS: Final = 10.0
_FIRST_RETRY: Final = 1.0
_LONGEST_RETRY: Final = 30.0

_log = structlog.get_logger("exchange")

T = TypeVar("T")

Request = effects.Submit | effects.Cancel | effects.LookFor | effects.ReadFills | effects.ReadBalances
"""Effects that ask an exchange for something."""


@dataclass(frozen=True, slots=True)
class _Failed:
    failure: Failure
    reason: str


class Desk:
    """Asks one exchange, and delivers what it answers and tells."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        deliver: Callable[[CoreEvent], None],
        clock: Callable[[], datetime],
        limited: Callable[[], None] = lambda: None,
    ) -> None:
        """`limited` is told whenever the exchange, or our own limiter, wants nothing of us for a while."""
        self._limited = limited
        self._exchange = exchange
        self._deliver = deliver
        self._clock = clock
        self._began = time.monotonic()
        self._lost: dict[str, float] = {}
        """When a request came to nothing certain, by client order id and by a clock that nobody sets."""
        self._looking: set[str] = set()
        """Orders that are being looked for, by client order id."""

    @property
    def name(self) -> str:
        """The exchange's id."""
        return self._exchange.name

    @property
    def conduct(self) -> Conduct:
        """How it treats client order ids."""
        return self._exchange.conduct

    @property
    def rate_limits(self) -> Mapping[str, object]:
        """How much of its limits on requests is used."""
        return self._exchange.rate_limits

    async def ask(self, request: Request) -> None:
        """Carry one request out and deliver its answer."""
        match request:
            case effects.Submit():
                await self._submit(request.request)
            case effects.Cancel():
                await self._cancel(request.client_order_id, request.symbol)
            case effects.LookFor():
                await self._look_for(request.client_order_id, request.symbol)
            case effects.ReadFills():
                for fill in await self.fills_since(request.since):
                    self._deliver(events.FillTold(self._clock(), fill))
            case effects.ReadBalances():
                await asyncio.sleep(request.after)
                balances = await self._asked(self._exchange.balances())
                told = None if isinstance(balances, _Failed) else balances
                self._deliver(events.BalancesTold(self._clock(), told))
            case _:
                assert_never(request)

    def know(self, orders: Iterable[tuple[str, str]]) -> None:
        """Client order ids and exchange order ids that belong together, from before."""
        self._exchange.know(orders)

    async def markets(self) -> dict[str, Market]:
        """The exchange's markets, asked for until it answers."""
        pauses = _Pauses()
        while True:
            markets = await self._asked(self._exchange.markets())
            if not isinstance(markets, _Failed):
                return dict(markets)
            hint = "if that goes on: is [exchange] symbol in config.toml right?"
            _log.warning("the exchange tells no markets yet", reason=markets.reason, hint=hint)
            await pauses.next()

    async def lookups(self, orders: Iterable[Order], told: events.OpenOrdersTold | None) -> dict[str, Lookup]:
        """What the exchange says about each order: those that it `told` are open are not asked for one by one."""
        listed = {} if told is None else {each.order.client_order_id: each.order for each in told.orders}
        found = {}
        for order in orders:
            name = order.client_order_id
            if told is not None and name in listed:
                found[name] = Lookup(listed[name], asked_at=told.at)
            else:
                found[name] = await self._lookup(name, order.symbol)
        return found

    async def fills_since(self, at: datetime | None) -> tuple[Fill, ...]:
        """Fills since an exchange time; none when it does not answer, for what is missing will be asked for again."""
        fills = await self._asked(self._exchange.fills_since(at))
        if isinstance(fills, _Failed):
            _log.warning("the exchange tells no fills", reason=fills.reason)
            return ()
        return tuple(fills)

    async def open_orders(self) -> events.OpenOrdersTold | None:
        """What is open on the account; None when the exchange does not say."""
        orders = await self._asked(self._exchange.open_orders())
        if isinstance(orders, _Failed):
            _log.warning("the exchange tells no open orders", reason=orders.reason)
            return None
        return events.OpenOrdersTold(self._clock(), tuple(orders))

    async def follow(
        self, *, taken: Callable[[], Awaitable[None]], live: Callable[[], tuple[Iterable[Order], datetime | None]]
    ) -> None:
        """Hand on what the exchange tells, each thing when all before it has been `taken`; ends when its stream does.

        After a break, whatever may have been missed is asked for: every order of `live()`, and fills since its time.
        """
        pauses = _Pauses()
        while True:
            try:
                async for update in self._exchange.updates():
                    pauses.begin_anew()
                    self._deliver(self._told(update))
                    await taken()
            except ExchangeError as error:
                _log.warning("the exchange's stream broke", reason=str(error))
            else:
                return
            await pauses.next()
            await self._catch_up(*live())

    async def survey(self) -> None:
        """Tell again and again what is open on the account, and how far our clock is ahead of the exchange's."""
        while True:
            told = await self.open_orders()
            if told is not None:
                self._deliver(told)
            ahead = await self._asked(self._exchange.clock_offset())
            if isinstance(ahead, float):
                self._deliver(events.ClockCompared(self._clock(), ahead))
            await asyncio.sleep(self._exchange.survey_every)

    async def close(self) -> None:
        """Let go of the exchange. Orders stay."""
        await self._exchange.close()

    async def _submit(self, request: OrderRequest) -> None:
        answer = await self._asked(self._exchange.create_order(request), acting=True)
        at = self._clock()
        if isinstance(answer, _Failed):
            if answer.failure is Failure.UNKNOWN:
                self._lost[request.client_order_id] = time.monotonic()
            self._deliver(events.SubmitFailed(at, request.client_order_id, answer.failure, answer.reason))
        else:
            self._deliver(events.OrderTold(at, answer))

    async def _cancel(self, client_order_id: str, symbol: str) -> None:
        answer = await self._asked(self._exchange.cancel_order(client_order_id, symbol), acting=True)
        at = self._clock()
        if isinstance(answer, _Failed):
            self._deliver(events.CancelFailed(at, client_order_id, answer.failure, answer.reason))
        else:
            self._deliver(events.OrderTold(at, answer))

    async def _look_for(self, client_order_id: str, symbol: str) -> None:
        if client_order_id in self._looking:
            return  # one answer serves all who ask before it comes: it tells when it was asked for
        self._looking.add(client_order_id)
        try:
            lookup = await self._lookup(client_order_id, symbol)
        finally:
            self._looking.discard(client_order_id)
        self._deliver(events.LookedFor(self._clock(), client_order_id, lookup))

    async def _lookup(self, client_order_id: str, symbol: str) -> Lookup:
        asked_at = self._clock()
        surely_lost = self._surely_lost(client_order_id)
        answer = await self._asked(self._exchange.find_order(client_order_id, symbol))
        if isinstance(answer, _Failed):
            return Lookup(None, unsure=answer.reason, asked_at=asked_at)
        if answer is None and not surely_lost:
            return Lookup(None, unsure="what was sent may still arrive", asked_at=asked_at)
        return Lookup(answer, asked_at=asked_at)

    def _surely_lost(self, client_order_id: str) -> bool:
        """Whether what was sent cannot arrive any more. The core says the same by a clock that may be set meanwhile.

        An earlier process sent nothing after this one began.
        """
        settles_within = self._exchange.conduct.settles_within.total_seconds()
        return time.monotonic() - self._lost.get(client_order_id, self._began) >= settles_within

    async def _catch_up(self, orders: Iterable[Order], since: datetime | None) -> None:
        for fill in await self.fills_since(since):
            self._deliver(events.FillTold(self._clock(), fill))
        for name, lookup in (await self.lookups(orders, await self.open_orders())).items():
            self._deliver(events.LookedFor(self._clock(), name, lookup))

    async def _asked(self, request: Awaitable[T], *, acting: bool = False) -> T | _Failed:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await request
        except TooSmall as error:
            return _Failed(Failure.TOO_SMALL, str(error))
        except OrderRefused as error:
            return _Failed(Failure.REFUSED, str(error))
        except KeyRefused as error:
            what = "no order under our key" if acting else "not our key"
            self._deliver(events.KeyRefused(self._clock(), f"the exchange takes {what}: {error}", acting=acting))
            return _Failed(Failure.REFUSED, str(error))
        except ExchangeUnavailable as error:
            if isinstance(error, RateLimited):
                self._limited()
            return _Failed(Failure.UNAVAILABLE, str(error))
        except ExchangeError as error:
            return _Failed(Failure.UNKNOWN, str(error))
        except TimeoutError:
            return _Failed(Failure.UNKNOWN, f"no answer within {_ANSWER_SECONDS:.0f} s")

    def _told(self, update: Update) -> CoreEvent:
        at = self._clock()
        match update:
            case Candle():
                return events.CandleClosed(at, update)
            case ExchangeOrder():
                return events.OrderTold(at, update)
            case Fill():
                return events.FillTold(at, update)
            case _:
                assert_never(update)


class _Pauses:
    """Waits between tries: longer each time, by chance within that, so that nodes do not come all at once."""

    def __init__(self) -> None:
        self._failures = 0

    def begin_anew(self) -> None:
        """Something came of a try: the next wait is the shortest again."""
        self._failures = 0

    async def next(self) -> None:
        """Wait before the next try."""
        longest = min(_FIRST_RETRY * 2.0**self._failures, _LONGEST_RETRY)
        self._failures = min(self._failures + 1, 16)
        await _wait(longest * (0.5 + random.random() / 2))  # noqa: S311  (no secret hangs on it)


async def _wait(seconds: float) -> None:
    await asyncio.sleep(seconds)

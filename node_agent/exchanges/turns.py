"""When a request may go to one exchange: the limiter with a clock, and what is told of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final

from node_agent.exchanges.limiter import Banned, Counted, Go, Limit, Limiter, Wait, ban_ends
from node_agent.exchanges.port import RateLimited

_GIVEN_A_READ: Final = 2.0
"""Seconds that a read under way is waited for by an order or a cancel whose turn is next."""
_LONGEST_BAN_SECONDS: Final = 3 * 86_400.0
"""Binance's longest. One that is remembered to last longer was told to a clock that was wrong, or is no ban."""


class Turns:
    """Of one exchange."""

    def __init__(
        self, name: str, limits: Sequence[Limit], *, patience: float, banned_until: datetime | None = None
    ) -> None:
        """`patience`: how many seconds a request waits. `banned_until`: what an earlier process was told last."""
        self._name = name
        self._patience = patience
        self._reading = asyncio.Lock()
        self.limiter = Limiter(limits, time.time())
        if banned_until is not None and banned_until.timestamp() - time.time() <= _LONGEST_BAN_SECONDS:
            self.limiter.ban(banned_until.timestamp())

    @property
    def told(self) -> Mapping[str, object]:
        """How much of each limit is used, and until when the exchange wants nothing of us; for reports."""
        told = self.limiter.snapshot(time.time())
        return {
            "limits": {name: {"used": each.used, "limit": each.limit} for name, each in told.usage.items()},
            "banned_until": None if told.banned_until is None else _utc(told.banned_until),
        }

    async def wait(self, weight: float, *, orders: int = 0, urgent: bool) -> None:
        """Return when a request may go; then it counts. Raises RateLimited when that is too long.

        Reads go in the order in which they came, or cheap ones would leave nothing for the others.
        """
        if urgent:
            await self._wait(weight, orders=orders, urgent=True)
            return
        async with self._reading:
            await self._wait(weight, orders=orders, urgent=False)

    async def _wait(self, weight: float, *, orders: int, urgent: bool) -> None:
        patience = self._patience
        while True:
            now = time.time()
            match self.limiter.ask(now, weight=weight, orders=orders, urgent=urgent):
                case Go():
                    return
                case Banned(until):
                    raise RateLimited(f"{self._name} wants no requests until {_utc(until)}", time_of(until))
                case Wait(seconds) if seconds > patience:
                    raise RateLimited("our own limit of requests is used up", time_of(now + seconds))
                case Wait(seconds):
                    patience -= seconds
                    await asyncio.sleep(seconds)

    def used_up(self, counted: Counted) -> datetime:
        """The exchange says that it was too much of these, and not until when. Returns when to ask again."""
        return time_of(self.limiter.exhaust(time.time(), counted))

    def hold(self, headers: Mapping[str, str], message: str, *, otherwise: float, ahead: float = 0.0) -> datetime:
        """Let nothing go until the time that an answer tells, or for `otherwise` seconds. Returns when that is over.

        `headers` have their names in lower case; `ahead` is by how many seconds our clock is before the exchange's.
        """
        now = time.time()
        until = ban_ends(now - ahead, headers, message, otherwise=otherwise) + ahead
        until = min(until, now + _LONGEST_BAN_SECONDS)
        self.limiter.ban(until)
        return time_of(until)


class InTurn:
    """Whose turn it is, where requests go one by one: an order or a cancel before every read, and soon."""

    def __init__(self) -> None:
        self._sent = 0
        self._acts = 0
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def one(self, *, acts: bool) -> AsyncIterator[None]:
        """Have the turn, from `async with` to its end."""
        self._acts += acts
        try:
            if acts:
                # Behind a read that hangs it goes all the same: when that comes at last, it is that which is refused.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GIVEN_A_READ):
                        await self._until(lambda: not self._sent)
            else:
                await self._until(lambda: not self._sent and not self._acts)
            self._sent += 1
            try:
                yield
            finally:
                self._sent -= 1
        finally:
            self._acts -= acts
            self._changed.set()

    async def _until(self, free: Callable[[], bool]) -> None:
        while not free():
            self._changed.clear()
            await self._changed.wait()


def time_of(seconds: float) -> datetime:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def _utc(seconds: float) -> str:
    return time_of(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")

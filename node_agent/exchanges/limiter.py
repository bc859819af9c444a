"""How much may be asked of an exchange, and when: token buckets of its limits. Pure: the time is a parameter.

A bucket holds half of a limit and is filled with the other half over the limit's window. So no window, wherever it
begins, sees more than the limit, and whoever was idle may ask at once. Reads leave a reserve, which orders and cancels
may use up. What the exchange says it has counted goes before our own count, and while a ban lasts nothing may be asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_RESERVE: Final = 0.1
"""Which part of a limit reads leave for orders and cancels."""
_NEARLY: Final = 1e-9
"""What a sum of floats may lack."""
_BANNED_UNTIL: Final = re.compile(r"until (\d{13})\b")


class Counted(StrEnum):
    """What a limit counts."""

    WEIGHT = "weight"
    ORDERS = "orders"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many in so many seconds."""

    name: str
    counted: Counted
    most: int
    seconds: float
    header: str = ""
    """Where the exchange tells what it has counted, in lower case."""


@dataclass(frozen=True, slots=True)
class Go:
    """Ask now: it has been counted."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after so many seconds. Nothing was counted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Banned:
    """The exchange wants nothing of us before this time."""

    until: float


Verdict = Go | Wait | Banned


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limit is used up, by our count or the exchange's, whichever is higher."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How things stand, for reports. Times are seconds since 1970."""

    usage: Mapping[str, Usage]
    banned_until: float | None


class Limiter:
    """All limits of one exchange. Times are seconds since 1970."""

    def __init__(self, limits: Sequence[Limit], now: float) -> None:
        self._buckets = [_Bucket(limit, now) for limit in limits]
        self._banned_until = float("-inf")

    def ask(self, now: float, *, weight: float, orders: int = 0, urgent: bool = False) -> Verdict:
        """Whether a request may go now; then it counts. `urgent` is for orders and cancels: they may use the reserve.

        Raises ValueError for one that no waiting would allow.
        """
        if now < self._banned_until:
            return Banned(self._banned_until)
        wants = [(each, orders if each.limit.counted is Counted.ORDERS else weight) for each in self._buckets]
        seconds = max((bucket.lacks(now, cost, urgent=urgent) for bucket, cost in wants), default=0.0)
        if seconds > 0:
            return Wait(seconds)
        for bucket, cost in wants:
            bucket.take(cost)
        return Go()

    def hear(self, now: float, headers: Mapping[str, str]) -> None:
        """Take in what the exchange has counted, as an answer's headers tell; their names are in lower case."""
        for bucket in self._buckets:
            told = headers.get(bucket.limit.header, "")
            if told.isdecimal():
                bucket.hear(now, int(told))

    def ban(self, until: float) -> None:
        """Let nothing go before this time. A longer ban stays."""
        self._banned_until = max(self._banned_until, until)

    def exhaust(self, now: float, counted: Counted) -> float:
        """The exchange says that the shortest of these limits is used up. Returns when it is worth asking again."""
        of_this = [bucket for bucket in self._buckets if bucket.limit.counted is counted]
        shortest = min(of_this, key=lambda bucket: bucket.limit.seconds, default=None)
        if shortest is None:
            return now
        shortest.hear(now, shortest.limit.most)
        return now + shortest.limit.seconds

    def snapshot(self, now: float) -> Snapshot:
        """How things stand."""
        usage = {each.limit.name: Usage(each.used(now), each.limit.most) for each in self._buckets}
        return Snapshot(usage, self._banned_until if now < self._banned_until else None)


def ban_ends(now: float, headers: Mapping[str, str], message: str, *, otherwise: float) -> float:
    """When a refusal for too many requests says that we may ask again, else `otherwise` seconds from now."""
    told = []
    retry_after = headers.get("retry-after", "")
    if retry_after.isdecimal():
        told.append(now + int(retry_after))
    until = _BANNED_UNTIL.search(message)
    if until is not None:
        told.append(int(until.group(1)) / 1000)
    return max(told, default=now + otherwise)


class _Bucket:
    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self._capacity = limit.most / 2
        self._refill = self._capacity / limit.seconds
        self._reserve = limit.most * _RESERVE if limit.counted is Counted.WEIGHT else 0.0
        self._tokens = self._capacity
        self._at = now
        self._left = math.inf
        """What the exchange has left for us, as last told and with what went since taken off."""
        self._left_until = now

    def lacks(self, now: float, cost: float, *, urgent: bool) -> float:
        """How many seconds until this much may be taken."""
        self._refresh(now)
        if cost == 0:
            return 0.0
        needed = cost + (0.0 if urgent else self._reserve)
        if needed > self._capacity:
            raise ValueError(f"a request of {cost} is more than the limit {self.limit.name} can ever allow")
        told = self._left_until - now if self._left < needed else 0.0
        missing = needed - self._tokens
        return max(told, missing / self._refill if missing > _NEARLY else 0.0)

    def take(self, cost: float) -> None:
        self._tokens -= cost
        self._left -= cost

    def hear(self, now: float, used: int) -> None:
        self._left = self.limit.most - used
        self._left_until = now + self.limit.seconds

    def used(self, now: float) -> int:
        self._refresh(now)
        told = 0.0 if self._left == math.inf else self.limit.most - self._left
        return math.ceil(max(self._capacity - self._tokens - _NEARLY, told))

    def _refresh(self, now: float) -> None:
        # A clock that is set back gives no credit, and takes none.
        self._tokens = min(self._capacity, self._tokens + max(0.0, now - self._at) * self._refill)
        self._at = now
        if now >= self._left_until:
            self._left = math.inf

"""Robinhood's limit of requests: a bucket that holds a burst, and is refilled by the minute. Pure; time is in ms."""

from __future__ import annotations

import math
from typing import Final

BURST: Final = 300
A_MINUTE: Final = 100


class Tokens:
    """Of one account."""

    def __init__(self, now: int) -> None:
        self._left, self._at = float(BURST), now

    def take(self, now: int) -> int | None:
        """Takes one; or tells in how many seconds there will be one."""
        gained = max(0, now - self._at) * A_MINUTE / 60_000
        self._left, self._at = min(float(BURST), self._left + gained), now
        if self._left < 1:
            return math.ceil((1 - self._left) * 60 / A_MINUTE)
        self._left -= 1
        return None

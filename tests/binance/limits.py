"""How much a caller may ask: weight a minute, orders in ten seconds and a day, and the ban that follows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tests.venue.refusals import banned, too_many_orders, too_much_weight

MINUTE: Final = 60_000
ORDER_WINDOWS: Final = {"10S": (10_000, "10 SECOND"), "1D": (86_400_000, "1 DAY")}


@dataclass
class Limits:
    """What may be asked; None takes a limit away. The counts are of the windows that the last request fell in."""

    weight: int | None = 6000
    orders_10s: int | None = 100
    orders_1d: int | None = 200_000
    ban_after: int = 10
    """Calls in spite of a 429, after which the caller is banned."""
    ban_seconds: int = 120
    banned_until: int = 0
    used: int = 0
    _minute: int = 0
    _ignored: int = 0
    _orders: dict[str, tuple[int, int]] = field(default_factory=dict)

    def spend(self, weight: int, now: int) -> None:
        """Counts a request of this weight; raises Refused when it is too much."""
        if now < self.banned_until:
            raise banned(self.banned_until, _seconds(self.banned_until - now))
        if now // MINUTE != self._minute:
            self._minute, self.used, self._ignored = now // MINUTE, 0, 0
        self.used += weight
        if self.weight is not None and self.used > self.weight:
            self._ignored += 1
            if self._ignored > self.ban_after:
                self.ban(now, self.ban_seconds)
                raise banned(self.banned_until, self.ban_seconds)
            raise too_much_weight(self.weight, _seconds(MINUTE - now % MINUTE))

    def ban(self, now: int, seconds: float) -> None:
        """Shuts the caller out for so long; zero lets it in again."""
        self.banned_until = now + int(seconds * 1000)

    def check_orders(self, now: int) -> None:
        """Raises Refused when no more orders may be placed now."""
        for name, most in (("10S", self.orders_10s), ("1D", self.orders_1d)):
            if most is not None and self.orders(now)[name] >= most:
                raise too_many_orders(most, ORDER_WINDOWS[name][1])

    def count_order(self, now: int) -> None:
        """Counts an order that was accepted."""
        for name, count in self.orders(now).items():
            self._orders[name] = (now // ORDER_WINDOWS[name][0], count + 1)

    def orders(self, now: int) -> dict[str, int]:
        """Orders in the present windows."""
        counts = {}
        for name, (length, _) in ORDER_WINDOWS.items():
            window, count = self._orders.get(name, (0, 0))
            counts[name] = count if window == now // length else 0
        return counts

    def set(self, changes: dict[str, int | None]) -> None:
        """Changes limits by name, and starts all counts anew."""
        for name, value in changes.items():
            if name not in {"weight", "orders_10s", "orders_1d", "ban_after", "ban_seconds"}:
                raise ValueError(f"no such limit: {name}")
            setattr(self, name, value)
        self.used = self._ignored = self.banned_until = 0
        self._orders.clear()


def _seconds(milliseconds: int) -> int:
    return max(1, -(-milliseconds // 1000))

"""One symbol: its rules, and a price that is a script of the exchange's clock or is pinned by hand. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from hashlib import blake2b
from typing import Final

PERIOD: Final = 40
"""Steps in which the price goes up, down and back."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the exchange says about a symbol, and holds orders to."""

    symbol: str
    base: str
    quote: str
    opening: Decimal
    tick: Decimal = Decimal("0.01")
    step: Decimal = Decimal("0.00001")
    least: Decimal = Decimal("0.00001")
    most: Decimal = Decimal(9000)
    market_most: Decimal = Decimal(100)
    highest: Decimal = Decimal(1000000)
    notional: Decimal = Decimal(5)
    notional_most: Decimal = Decimal(9000000)
    up: Decimal = Decimal(5)
    down: Decimal = Decimal("0.2")
    orders: int = 200
    algo_orders: int = 5


LISTED: Final = {
    rules.symbol: rules
    for rules in (
        Rules("BTCUSDT", "BTC", "USDT", Decimal(40000)),
        Rules("ETHUSDT", "ETH", "USDT", Decimal(2500), step=Decimal("0.0001"), least=Decimal("0.0001")),
    )
}


@dataclass(frozen=True, slots=True)
class Candle:
    """One interval, in Binance's kline terms."""

    at: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass
class Market:
    """A symbol's price at any time: zigzag and seeded noise, one step an interval, unless it is pinned."""

    rules: Rules
    interval: int = 1000
    seed: int = 0
    depth: Decimal | None = None
    """How much can be taken at once; any amount when None."""
    _pins: list[tuple[int, Decimal | None]] = field(default_factory=list)
    _scripted: dict[int, Decimal] = field(default_factory=dict)

    def pin(self, price: Decimal | None, at: int) -> None:
        """From now on the price is this one; None lets it walk again. Pins of a later clock are forgotten."""
        self._pins = [pin for pin in self._pins if pin[0] < at]
        self._pins.append((at, price))

    @property
    def pinned(self) -> Decimal | None:
        """The price that was pinned last, if it still is."""
        return self._pins[-1][1] if self._pins else None

    def price(self, at: int) -> Decimal:
        """The price at this millisecond."""
        pin = bisect_right(self._pins, at, key=lambda pin: pin[0])
        pinned = self._pins[pin - 1][1] if pin else None
        return self._walked(at // self.interval) if pinned is None else pinned

    def steps(self, after: int, until: int) -> Iterator[int]:
        """Times in (after, until] at which an interval began."""
        yield from range((after // self.interval + 1) * self.interval, until + 1, self.interval)

    def candle(self, at: int, length: int, now: int) -> Candle:
        """The interval that opened at this time, as far as it has come. It opens where the one before closed."""
        until = min(at + length - 1, now)
        moments = [*self.steps(at - 1, until), *(pin[0] for pin in self._pins if at <= pin[0] <= until)]
        prices = [self.price(at - 1), *(self.price(moment) for moment in sorted(moments))]
        volume = Decimal(1 + _noise(self.seed, at) % 100_000) / 10_000
        return Candle(at, prices[0], max(prices), min(prices), prices[-1], volume)

    def _walked(self, step: int) -> Decimal:
        if (price := self._scripted.get(step)) is None:
            wave = abs((step + self.seed) % PERIOD - PERIOD // 2) - PERIOD // 4
            # half a percent to either side, and a tenth of that as noise
            share = Decimal(wave) / (PERIOD // 4) / 200 + Decimal(_noise(self.seed, step) % 1001 - 500) / 1_000_000
            price = (self.rules.opening * (1 + share)).quantize(self.rules.tick, ROUND_DOWN)
            self._scripted[step] = price
        return price


def _noise(seed: int, step: int) -> int:
    return int.from_bytes(blake2b(f"{seed}:{step}".encode(), digest_size=8).digest(), "big")


def whole(amount: Decimal, unit: Decimal) -> Decimal:
    """The amount, rounded down to whole units."""
    return (amount // unit) * unit

"""Moving-average trend: long while the fast average of closes is above the slow one, flat otherwise.

It enters once at each crossing, and an entry that was refused is not tried again before the next one; it leaves
whenever it holds something that it should not, candle after candle until it is out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from node_agent.core.market import Candle, Side
from node_agent.strategies.interface import Intent


@dataclass(frozen=True, slots=True)
class MaTrend:
    """Windows are counted in candles, `1 <= fast < slow`; `notional` is the size of an entry in the quote currency."""

    symbol: str
    fast: int = 10
    slow: int = 30
    notional: Decimal = Decimal(250)
    name: str = "ma_trend"

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise ValueError("fast must be at least 1 and below slow")
        if self.notional <= 0:
            raise ValueError("notional must be above zero")

    def start(self) -> dict[str, Any]:
        """No closes seen, no direction taken."""
        return {"closes": [], "long": False}

    def on_candle(
        self, memory: dict[str, Any], candle: Candle, position: Decimal
    ) -> tuple[dict[str, Any], Sequence[Intent]]:
        """Take in one close and say what is to be done."""
        closes = [*memory["closes"], str(candle.close)][-self.slow :]
        if len(closes) < self.slow:
            return {"closes": closes, "long": False}, ()
        long = self._average(closes, self.fast) > self._average(closes, self.slow)
        after = {"closes": closes, "long": long}
        if long and not memory["long"] and position <= 0:
            return after, (Intent(Side.BUY, self.notional / candle.close),)
        if not long and position > 0:
            return after, (Intent(Side.SELL, position, reduce_only=True),)
        return after, ()

    @staticmethod
    def _average(closes: Sequence[str], window: int) -> Decimal:
        return sum((Decimal(close) for close in closes[-window:]), Decimal(0)) / window

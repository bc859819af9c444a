"""Binance, as the conformance suite runs on it."""

from __future__ import annotations

from typing import Final

from tests.binance.process import KEY, SECRET, BinanceProcess
from tests.exchanges.cases import Case
from tests.venue.process import VenueProcess


class _Case(Case):
    def start(self) -> VenueProcess:
        return BinanceProcess(*self.options, key=self.key["key"], secret=self.key["secret"])


CASE: Final = _Case(
    name="binance",
    symbol="BTC/USDT",
    native="BTCUSDT",
    key={"key": KEY, "secret": SECRET},
    wrong={"key": KEY, "secret": "x" * 64},
    too_powerful={"enableWithdrawals": True},
    stranger={"enableTeleportation": False},
)

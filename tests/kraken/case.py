"""Kraken, as the conformance suite runs on it."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from tests.exchanges.cases import Case
from tests.kraken.venue import TRADING

KEY: Final = "k" * 56
SECRET: Final = b64encode(b"s" * 64).decode()

CASE: Final = Case(
    name="kraken",
    symbol="BTC/USD",
    native="XXBTZUSD",
    key={"key": KEY, "secret": SECRET},
    wrong={"secret": b64encode(b"x" * 64).decode()},
    too_powerful={"permissions": [*TRADING, "withdraw-funds"]},
    stranger={"permissions": [*TRADING, "teleport-funds"]},
)

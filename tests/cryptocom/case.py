"""Crypto.com, as the conformance suite runs on it."""

from __future__ import annotations

from typing import Final

from tests.exchanges.cases import Case

KEY: Final = {"key": "Kq7" * 7 + "x", "secret": "cxakp_" + "Sz4" * 7 + "y"}

CASE: Final = Case(
    name="cryptocom",
    symbol="BTC/USDT",
    native="BTC_USDT",
    key=KEY,
    wrong={"secret": "cxakp_" + "Wr0" * 7 + "n"},
    stops=False,
)

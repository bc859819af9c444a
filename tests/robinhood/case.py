"""Robinhood, as the conformance suite runs on it; and the keys that tests here are signed with."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tests.exchanges.cases import Case

KEY: Final = "rh-api-00000000-0000-4000-8000-00000000c0de"
SEED: Final = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

CASE: Final = Case(
    name="robinhood",
    symbol="BTC/USD",
    native="BTC-USD",
    key={"key": KEY, "secret": SEED},
    wrong={"key": KEY, "secret": "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="},
    too_much="10",
    interval=timedelta(seconds=5),
)

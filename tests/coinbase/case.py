"""Coinbase, as the conformance suite runs on it."""

from __future__ import annotations

from typing import Final

from tests.coinbase.tokens import new_key
from tests.exchanges.cases import Case

KEY_NAME: Final = "organizations/0f3cbe2c-7f2c-4a5e-9c0a-5f1f2f3d4e5f/apiKeys/7a9be1d0-3c1e-4d52-8f62-1b2c3d4e5f60"
SECRET: Final = new_key()

CASE: Final = Case(
    name="coinbase",
    symbol="BTC/USD",
    native="BTC-USD",
    key={"key": KEY_NAME, "secret": SECRET},
    wrong={"secret": new_key()},
    too_powerful={"can_transfer": True},
    stranger={"can_teleport": False},
    stops=False,
    options=("--interval", "1m"),  # what rests at the price is filled when an interval begins
)

"""Polymarket, as the conformance suite runs on it."""

from __future__ import annotations

from typing import Final

from tests.exchanges.cases import Case
from tests.polymarket.venue import TOKEN

KEY: Final = {
    "key": "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "wallet": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "kind": "deposit",
}

CASE: Final = Case(
    name="polymarket",
    symbol=f"{TOKEN}/USDC",
    native=TOKEN,
    key=KEY,
    wrong={"key": "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"},
    price="0.50",
    below="0.40",
    dip="0.39",
    amount="10",
    too_much="10000",
    stops=False,
)

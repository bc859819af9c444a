"""OKX, as the conformance suite runs on it."""

from __future__ import annotations

from typing import Final

from tests.exchanges.cases import Case

KEY: Final = {
    "key": "0f0e0d0c-0b0a-4908-8706-050403020100",
    "secret": "00112233445566778899AABBCCDDEEFF",
    "passphrase": "Open#Sesame1",
}

CASE: Final = Case(
    name="okx",
    symbol="BTC/USDT",
    native="BTC-USDT",
    key=KEY,
    wrong={"secret": "FFEEDDCCBBAA99887766554433221100"},
    too_powerful={"perm": "read_only,withdraw,trade"},
    stranger={"perm": "read_only,trade,teleport"},
    stops=False,
)

"""What an endpoint works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from string import ascii_letters, digits
from typing import Any, Final

from tests.binance.limits import Limits
from tests.binance.params import Params
from tests.venue.books import Books

TRADE_ONLY: Final = {
    "ipRestrict": False,
    "createTime": 1_700_000_000_000,
    "enableReading": True,
    "enableSpotAndMarginTrading": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "permitsUniversalTransfer": False,
    "enableMargin": False,
    "enableFutures": False,
    "enableVanillaOptions": False,
    "enablePortfolioMarginTrading": False,
    "enableFixApiTrade": False,
    "enableFixReadOnly": False,
}


@dataclass
class Desk:
    """All that an endpoint works on."""

    books: Books
    limits: Limits
    restrictions: dict[str, Any]
    chance: Random

    def made_up(self) -> str:
        """A client id, for those who gave none."""
        return "".join(self.chance.choices(ascii_letters + digits, k=22))


Endpoint = Callable[[Desk, Params], Any]

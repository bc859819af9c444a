"""What Kraken says when it refuses: a line of text each, all with status 200; and the books' refusals in its words."""

from __future__ import annotations

from typing import Final

from tests.venue.refusals import Refused


class Said(Refused):
    """An error of Kraken's."""

    def __init__(self, error: str) -> None:
        super().__init__(0, error, 200)


_WORDS: Final = {
    "Account has insufficient balance for requested action.": "EOrder:Insufficient funds",
    "Duplicate order sent.": "EGeneral:Invalid arguments:cl_ord_id not unique",
    "Filter failure: LOT_SIZE": "EGeneral:Invalid arguments:volume minimum not met",
    "Filter failure: MAX_NUM_ALGO_ORDERS": "EOrder:Orders limit exceeded",
    "Filter failure: MAX_NUM_ORDERS": "EOrder:Orders limit exceeded",
    "Filter failure: NOTIONAL": "EOrder:Cost minimum not met",
    "Filter failure: PRICE_FILTER": "EOrder:Tick size check failed",
    "Invalid symbol.": "EQuery:Unknown asset pair",
    "Order does not exist.": "EOrder:Unknown order",
    "Unknown order sent.": "EOrder:Unknown order",
}


def words(refused: Refused) -> str:
    """A refusal as Kraken says it."""
    if isinstance(refused, Said):
        return refused.message
    return _WORDS.get(refused.message, f"EGeneral:Invalid arguments:{refused.message}")

"""What Crypto.com says when it refuses: its reason codes, each with its HTTP status; and the books' words in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.venue.refusals import Refused

REASONS: Final = {
    204: (400, "DUPLICATE_CLORDID"),
    209: (400, "INVALID_INSTRUMENT"),
    212: (500, "INVALID_ORDERID"),
    213: (400, "INVALID_ORDERQTY"),
    218: (400, "INVALID_ORDTYPE"),
    220: (400, "INVALID_SIDE"),
    221: (400, "INVALID_TIF"),
    306: (500, "INSUFFICIENT_AVAILABLE_BALANCE"),
    308: (400, "INVALID_PRICE"),
    314: (400, "EXCEEDS_MAX_ORDER_SIZE"),
    315: (400, "FAR_AWAY_LIMIT_PRICE"),
    316: (500, "NO_ACTIVE_ORDER"),
    318: (400, "EXCEEDS_MAX_ALLOWED_ORDERS"),
    415: (500, "BELOW_MIN_ORDER_SIZE"),
    40001: (400, "BAD_REQUEST"),
    40002: (400, "METHOD_NOT_FOUND"),
    40003: (400, "INVALID_REQUEST"),
    40004: (400, "MISSING_OR_INVALID_ARGUMENT"),
    40005: (400, "INVALID_DATE"),
    40101: (401, "UNAUTHORIZED"),
    40102: (400, "INVALID_NONCE"),
    40401: (200, "NOT_FOUND"),
}

_OF_BOOKS: Final = {
    (-1013, "Filter failure: LOT_SIZE"): 213,
    (-1013, "Filter failure: MARKET_LOT_SIZE"): 314,
    (-1013, "Filter failure: PRICE_FILTER"): 308,
    (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"): 315,
    (-1013, "Filter failure: NOTIONAL"): 415,
    (-1013, "Filter failure: MAX_NUM_ORDERS"): 318,
    (-1013, "Invalid quantity."): 213,
    (-1013, "Invalid price."): 308,
    (-1111, "Parameter 'quantity' has too much precision."): 213,
    (-1111, "Parameter 'price' has too much precision."): 308,
    (-1121, "Invalid symbol."): 209,
    (-2010, "Duplicate order sent."): 204,
    (-2010, "Account has insufficient balance for requested action."): 306,
}


class Because(Refused):
    """A refusal in its own words, and what it tells of an order that it took down before it refused it."""

    def __init__(self, code: int, result: Mapping[str, str] | None = None) -> None:
        status, message = REASONS[code]
        super().__init__(code, message, status)
        self.result = result


def of_books(refused: Refused) -> int:
    """The code for what the books said."""
    return _OF_BOOKS[refused.code, refused.message]

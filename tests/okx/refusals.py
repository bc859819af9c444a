"""What OKX says when it refuses, by code; and the books' own refusals in its words."""

from __future__ import annotations

from typing import Final

from tests.venue.refusals import Refused

_STATUSES: Final = {
    404: (404,),
    400: (50002, 50006, 50014, 50015, 51000),
    401: (50102, 50103, 50104, 50105, 50106, 50107, 50111, 50112, 50113),
}
_MESSAGES: Final = {
    404: "Invalid request URL",
    50002: "JSON syntax error",
    50006: 'Invalid Content-Type. Please use "application/JSON".',
    50102: "Timestamp request expired.",
    50103: 'Request header "OK-ACCESS-KEY" cannot be empty.',
    50104: 'Request header "OK-ACCESS-PASSPHRASE" cannot be empty.',
    50105: 'Request header "OK-ACCESS-PASSPHRASE" incorrect.',
    50106: 'Request header "OK-ACCESS-SIGN" cannot be empty.',
    50107: 'Request header "OK-ACCESS-TIMESTAMP" cannot be empty.',
    50111: "Invalid OK-ACCESS-KEY.",
    50112: "Invalid OK-ACCESS-TIMESTAMP.",
    50113: "Invalid signature.",
    50119: "API key doesn't exist",
    51001: "Instrument ID, Instrument ID code or Spread ID doesn't exist.",
    51008: "Order failed. Insufficient balance in account",
    51010: "Request unsupported under current account mode",
    51016: "Client order ID already exists.",
    51020: "Your order should meet or exceed the minimum order amount.",
    51121: "Order quantity must be a multiple of the lot size.",
    51137: "The highest price limit for buy orders is exceeded.",
    51150: "The precision of the number of trades or the price exceeds the limit.",
    51202: "Market order amount exceeds the maximum amount.",
    51400: "Order cancellation failed as the order has been filled, canceled or does not exist.",
    51603: "Order does not exist.",
}
_OF_BOOKS: Final = {
    "Duplicate order sent.": 51016,
    "Account has insufficient balance for requested action.": 51008,
    "Filter failure: LOT_SIZE": 51121,
    "Filter failure: PRICE_FILTER": 51150,
    "Filter failure: MARKET_LOT_SIZE": 51202,
    "Filter failure: PERCENT_PRICE_BY_SIDE": 51137,
    "Unknown order sent.": 51400,
    "Order does not exist.": 51603,
    "Invalid symbol.": 51001,
}


class OrderRefused(Refused):
    """Told in the order's own code, inside an answer that only says that it failed."""

    def __init__(self, refused: Refused, client_id: str, order_id: str = "") -> None:
        super().__init__(refused.code, refused.message, 200)
        self.client_id, self.order_id = client_id, order_id


def because(code: int, message: str | None = None) -> Refused:
    """A refusal with this code, and the status that it is documented with."""
    status = next((status for status, codes in _STATUSES.items() if code in codes), 200)
    return Refused(code, message or _MESSAGES[code], status)


def wrong(name: str) -> Refused:
    """A parameter that is none, or that this request does not have."""
    return because(51000, f"Parameter {name} error")


def of_books(refused: Refused) -> Refused:
    """What the books said, in OKX's words."""
    if refused.message.startswith(("Invalid quantity", "Invalid price")):
        return because(51020)
    if refused.code == -1111:
        return because(51150)
    return because(_OF_BOOKS[refused.message])

"""What Coinbase says when it refuses: with a status of HTTP, or with status 200 that an order was not made."""

from __future__ import annotations

from typing import Final

from tests.venue.refusals import Refused

UNKNOWN_REASON: Final = "UNKNOWN_FAILURE_REASON"
UNKNOWN_PREVIEW: Final = "UNKNOWN_PREVIEW_FAILURE_REASON"

REASONS: Final = {
    "Account has insufficient balance for requested action.": (
        "INSUFFICIENT_FUND",
        "Insufficient balance in source account",
    ),
    "Filter failure: LOT_SIZE": ("INVALID_SIZE_PRECISION", "size is not a multiple of the base increment"),
    "Parameter 'quantity' has too much precision.": ("INVALID_SIZE_PRECISION", "size has too many decimals"),
    "Parameter 'price' has too much precision.": ("INVALID_PRICE_PRECISION", "price has too many decimals"),
    "Invalid quantity.": ("INVALID_BASE_SIZE_TOO_SMALL", "size is too small"),
    "Filter failure: MARKET_LOT_SIZE": ("INVALID_BASE_SIZE_TOO_LARGE", "size is too large"),
    "Filter failure: NOTIONAL": ("INVALID_QUOTE_SIZE_TOO_SMALL", "size is too small"),
    "Filter failure: PRICE_FILTER": ("INVALID_PRICE_PRECISION", "price is not a multiple of the price increment"),
    "Filter failure: PERCENT_PRICE_BY_SIDE": ("LIMIT_PRICE_TOO_FAR_FROM_MARKET", "price is too far from the market"),
    "Filter failure: MAX_NUM_ORDERS": ("COMMANDER_REJECTED_NEW_ORDER", "too many open orders"),
    "Invalid symbol.": ("INVALID_PRODUCT_ID", "valid product_id is required"),
}
"""In the books' words, and in Coinbase's. Which of its fields names the reason differs from case to case."""


class Problem(Refused):
    """Refused with a status of HTTP."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(status, message, status)
        self.error = error


class NotMade(Refused):
    """No order was made, says an answer with status 200."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(200, f"{reason}: {message}", 200)
        self.reason = reason
        self.words = message


def invalid(message: str) -> Problem:
    """Something in the request is not as it must be."""
    return Problem(400, "INVALID_ARGUMENT", message)


def unauthorized(why: str) -> Problem:
    """No token, or none that is good. `why` stays here: Coinbase answers with one word."""
    return Problem(401, "", f"Unauthorized: {why}")


def missing_scope() -> Problem:
    """The key may not do this."""
    return Problem(403, "PERMISSION_DENIED", "Missing required scopes")


def no_such_order() -> Problem:
    """There is no order under this id."""
    return Problem(404, "NOT_FOUND", "order with this orderID was not found")


def not_made(refused: Refused) -> NotMade:
    """The books' refusal of an order in Coinbase's words."""
    reason, message = REASONS.get(refused.message, (UNKNOWN_REASON, refused.message))
    return NotMade(reason, message)

"""What Robinhood says when it refuses. Its form and its statuses are documented; most of the words are chosen."""

from __future__ import annotations

from typing import Final

from tests.venue.refusals import Refused

_OF_THE_BOOKS: Final = {
    "LOT_SIZE": ("asset_quantity", "Ensure this value is a multiple of the asset increment."),
    "NOTIONAL": ("asset_quantity", "Order size is too small."),
    "PRICE_FILTER": ("limit_price", "Ensure this value is a multiple of the quote increment."),
    "insufficient balance": ("non_field_errors", "Insufficient holdings."),
}


class Problem(Refused):
    """A refusal with its type and the field that it names; without a type it is plain text."""

    def __init__(
        self, status: int, kind: str, message: str, attr: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, status, headers)
        self.kind = kind
        self.attr = attr


def in_its_words(refused: Refused) -> Problem:
    """A refusal; one by the books as Robinhood would put it."""
    if isinstance(refused, Problem):
        return refused
    for words, (field, message) in _OF_THE_BOOKS.items():
        if words in refused.message:
            return invalid(field, message)
    return invalid("non_field_errors", refused.message)


def invalid(field: str, message: str) -> Problem:
    """Something about one field."""
    return Problem(400, "validation_error", message, field)


def not_found() -> Problem:
    """No such order, or no such page."""
    return Problem(404, "client_error", "Not found.")


def missing_headers() -> Problem:
    """Seen: what its front says to a request that is not signed at all."""
    names = "x-api-key, x-signature, x-timestamp"
    return Problem(400, "", f"Request missing required headers. Required headers: {names}.")


def unknown_key() -> Problem:
    """No such key, or one that was switched off."""
    return Problem(401, "client_error", "API key not found.")


def bad_signature() -> Problem:
    """Not signed with the key's private key, or something else than was sent."""
    return Problem(401, "client_error", "Signature could not be verified.")


def expired() -> Problem:
    """Too old."""
    return Problem(401, "client_error", "Request has expired.")


def throttled(seconds: int) -> Problem:
    """Out of tokens."""
    message = f"Request was throttled. Expected available in {seconds} seconds."
    return Problem(429, "client_error", message, headers={"retry-after": str(seconds)})

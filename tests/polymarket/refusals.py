"""What Polymarket says when it refuses: words, and a status."""

from __future__ import annotations

from typing import Final

from tests.venue.refusals import Refused

_OF_BOOKS: Final = {
    "Duplicate order sent.": "order {id} is invalid. Duplicated.",
    "Account has insufficient balance for requested action.": (
        "not enough balance / allowance: the balance is not enough -> balance: 1000000000"
    ),
    "Filter failure: PRICE_FILTER": "invalid price, price must be greater than 0 and less than 1",
}


def refused(words: str, status: int = 400) -> Refused:
    """A refusal in these words."""
    return Refused(status, words, status)


def unauthorized() -> Refused:
    """Key, passphrase, time or signature of a request are wrong: it does not say which."""
    return refused("Unauthorized/Invalid api key", 401)


def of_books(told: Refused, order_id: str) -> Refused:
    """What the books said, in Polymarket's words."""
    words = _OF_BOOKS.get(told.message)
    return refused("could not insert order", 500) if words is None else refused(words.format(id=order_id))

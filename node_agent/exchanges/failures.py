"""What goes wrong with a request, named: the port's errors that every line to an exchange tells apart."""

from __future__ import annotations

from node_agent.exchanges.port import (
    ExchangeError,
    ExchangeUnavailable,
    KeyRefused,
    OrderRefused,
    OutcomeUnknown,
    TooSmall,
)
from node_agent.exchanges.traits import Meaning


class DuplicateOrder(OrderRefused):
    """The exchange has an order under this client order id."""


class NoSuchOrder(OrderRefused):
    """The exchange has no such order, or none that is still open."""


class ClockOff(ExchangeUnavailable):
    """Our time is too far from the exchange's: it did nothing."""


class LineLost(ExchangeUnavailable):
    """A read whose connection was lost: it may be repeated."""


_BY_MEANING = {
    Meaning.REFUSED: OrderRefused,
    Meaning.TOO_SMALL: TooSmall,
    Meaning.DUPLICATE: DuplicateOrder,
    Meaning.NO_SUCH_ORDER: NoSuchOrder,
    Meaning.CLOCK: ClockOff,
    Meaning.KEY: KeyRefused,
}


def refusal(meaning: Meaning | None, words: str, *, status: int, acts: bool) -> ExchangeError:
    """What an answer that is no success comes to; but for too many requests, which are the limiter's."""
    kind = _BY_MEANING.get(meaning) if meaning is not None else None
    return unknown(acts)(f"status {status}: {words}") if kind is None else kind(words)


def unknown(acts: bool) -> type[ExchangeError]:
    """What is not known matters for what acts alone: a read may be asked again."""
    return OutcomeUnknown if acts else ExchangeUnavailable

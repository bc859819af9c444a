"""What an exchange says when it refuses: Binance's codes and messages, each with its HTTP status.

The books speak in them; the dialect of another exchange puts its own in their place.
"""

from __future__ import annotations

from collections.abc import Mapping


class Refused(Exception):
    """The request was answered with an error body."""

    def __init__(self, code: int, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = dict(headers or {})


def filter_failed(name: str) -> Refused:
    """The order does not keep a rule of its symbol."""
    return Refused(-1013, f"Filter failure: {name}")


def rejected(message: str) -> Refused:
    """The matching engine does not take the order."""
    return Refused(-2010, message)


def unknown_to_cancel() -> Refused:
    """There is no open order to cancel."""
    return Refused(-2011, "Unknown order sent.")


def no_such_order() -> Refused:
    """There is no order to show."""
    return Refused(-2013, "Order does not exist.")


def invalid_symbol() -> Refused:
    """Nothing is traded under this name."""
    return Refused(-1121, "Invalid symbol.")


def bad_key() -> Refused:
    """The key is not known, has expired, or may not do this."""
    return Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)


def bad_signature() -> Refused:
    """The signature is not the one of what was sent."""
    return Refused(-1022, "Signature for this request is not valid.")


def too_late() -> Refused:
    """The request's time is older than its window."""
    return Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def too_early() -> Refused:
    """The request's time is ahead of the exchange's."""
    return Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")


def missing(name: str) -> Refused:
    """A parameter that is needed is not there."""
    return Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def neither(one: str, other: str) -> Refused:
    """One of two parameters is needed."""
    return Refused(-1102, f"Param '{one}' or '{other}' must be sent, but both were empty/null!")


def not_required(name: str) -> Refused:
    """A parameter that this kind of order does not have."""
    return Refused(-1106, f"Parameter '{name}' sent when not required.")


def invalid(name: str) -> Refused:
    """A parameter whose value is none."""
    return Refused(-1130, f"Data sent for parameter '{name}' is not valid.")


def bad_combination() -> Refused:
    """Parameters that do not go together."""
    return Refused(-1128, "Combination of optional parameters invalid.")


def lookup_too_long(hours: int) -> Refused:
    """The two times are too far apart."""
    return Refused(-1127, f"More than {hours} hours between startTime and endTime.")


def timed_out() -> Refused:
    """The front did not hear from the engine: nobody knows."""
    message = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
    return Refused(-1007, message, 504)


def unavailable() -> Refused:
    """The front is not in a state to pass anything on."""
    return Refused(-1001, "Internal error; unable to process your request. Please try again.", 503)


def too_much_weight(limit: int, seconds: int) -> Refused:
    """The minute's weight is used up."""
    message = (
        f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return Refused(-1003, message, 429, {"Retry-After": str(seconds)})


def banned(until: int, seconds: int) -> Refused:
    """The caller went on after it was told to stop."""
    message = (
        f"Way too much request weight used; IP banned until {until}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    return Refused(-1003, message, 418, {"Retry-After": str(seconds)})


def too_many_orders(limit: int, interval: str) -> Refused:
    """The account placed too many orders; there is no Retry-After here, as on the real exchange."""
    return Refused(-1015, f"Too many new orders; current limit is {limit} orders per {interval}.", 429)

"""Coinbase's answers and refusals as values of ours. Pure. Raises ValueError for what cannot be read.

A refusal comes with a status of HTTP, or with status 200: then it is said inside that no order was made, or no cancel
taken, and one of three fields names the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from node_agent.core.market import ExchangeStatus
from node_agent.exchanges.reading import milliseconds_of
from node_agent.exchanges.traits import Meaning

_NO_PERMISSIONS: Final = frozenset(("portfolio_uuid", "portfolio_type"))
"""What key_permissions tells beside them."""
_MUST_BE_TOLD: Final = frozenset(("can_view", "can_trade", "can_transfer"))

STATUSES: Final = {
    **dict.fromkeys(("PENDING", "OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED"), ExchangeStatus.OPEN),
    "FILLED": ExchangeStatus.FILLED,
    "CANCELLED": ExchangeStatus.CANCELLED,
    "EXPIRED": ExchangeStatus.EXPIRED,
    "FAILED": ExchangeStatus.REJECTED,
}

_REFUSED: Final = (
    *("UNSUPPORTED_ORDER_CONFIGURATION", "INVALID_ORDER_CONFIG", "INVALID_REQUEST", "COMMANDER_REJECTED_NEW_ORDER"),
    *("INVALID_SIDE", "INVALID_PRODUCT_ID", "INELIGIBLE_PAIR", "UNTRADABLE_PRODUCT", "ORDER_ENTRY_DISABLED"),
    *("GEOFENCING_RESTRICTION", "NOT_ALLOWED_BY_MARKET_STATE", "INVALID_NO_LIQUIDITY"),
    *("INVALID_SIZE_PRECISION", "INVALID_PRICE_PRECISION", "INVALID_LIMIT_PRICE_PRECISION"),
    *("INVALID_BASE_SIZE_TOO_LARGE", "INVALID_BASE_SIZE_TOO_SMALL", "INVALID_PRICE_TOO_LARGE"),
    *("INVALID_QUOTE_SIZE_PRECISION", "INVALID_QUOTE_SIZE_TOO_LARGE", "INVALID_QUOTE_SIZE_TOO_SMALL"),
    *("INVALID_LIMIT_PRICE", "LIMIT_PRICE_TOO_FAR_FROM_MARKET", "BREACHED_PRICE_LIMIT"),
    *("INSUFFICIENT_FUND", "INSUFFICIENT_FUNDS", "INVALID_LEDGER_BALANCE", "INSUFFICIENT_LEDGER_BALANCE"),
)
"""Why no order was made. Each may also come with PREVIEW_ before it."""
_NOTHING_TO_CANCEL: Final = (
    *("UNKNOWN_CANCEL_ORDER", "ORDER_IS_FULLY_FILLED", "INVALID_CANCEL_REQUEST", "COMMANDER_REJECTED_CANCEL_ORDER"),
    *("NOT_ALLOWED_TO_CANCEL", "INVALID_CANCEL_PRODUCT_ID"),
)
_UNDER_WAY: Final = frozenset(("DUPLICATE_CANCEL_REQUEST",))
"""Of a cancel that was asked for before."""

MEANINGS: Final = {
    **dict.fromkeys(_REFUSED, Meaning.REFUSED),
    **dict.fromkeys((f"PREVIEW_{code}" for code in _REFUSED), Meaning.REFUSED),
    "INVALID_ARGUMENT": Meaning.REFUSED,
    **dict.fromkeys(_NOTHING_TO_CANCEL, Meaning.NO_SUCH_ORDER),
    **dict.fromkeys(("NOT_FOUND", "order with this orderID was not found"), Meaning.NO_SUCH_ORDER),
    "DUPLICATE_CLIENT_ORDER_ID": Meaning.DUPLICATE,
    **dict.fromkeys(("PERMISSION_DENIED", "Missing required scopes"), Meaning.KEY),
}


def error_of(status: int, body: Any) -> tuple[str, str] | None:
    """Code and words of an answer that is an error; where the code says nothing, the words are taken for it."""
    if not isinstance(body, dict):
        return ("", "") if status >= 400 else None
    if "results" in body:
        return _cancel_error(body["results"])
    if "success" in body:
        return _order_error(body)
    if body.get("error"):
        code, words = str(body["error"]), str(body.get("error_details") or body.get("message") or "")
        return (words, "") if code.lower() == "unknown" else (code, words)
    if isinstance(errors := body.get("errors"), list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("id", "")), str(errors[0].get("message", ""))
    return ("", "") if status >= 400 else None


def _order_error(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Of an answer to a new order, which says with status 200 that there is none."""
    made = body.get("success_response")
    if body["success"] is True and isinstance(made, dict) and made.get("order_id"):
        return None
    said = body.get("error_response")
    if not isinstance(said, dict):
        return "", "neither an order nor a refusal"
    reasons = (str(said.get(name) or "") for name in ("new_order_failure_reason", "error", "preview_failure_reason"))
    code = next((reason for reason in reasons if reason and not reason.startswith("UNKNOWN_")), "")
    return code, str(said.get("error_details") or said.get("message") or "")


def _cancel_error(results: Any) -> tuple[str, str] | None:
    """Of an answer to a cancel: one result for the one order."""
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        return "", "no result of a cancel"
    reason = str(results[0].get("failure_reason", ""))
    return None if results[0].get("success") is True or reason in _UNDER_WAY else (reason, "")


def permissions(body: Any) -> Mapping[str, bool]:
    """What key_permissions tells; all three that are documented must be there."""
    told = {name: value for name, value in body.items() if name not in _NO_PERMISSIONS}
    if not told.keys() >= _MUST_BE_TOLD or not all(isinstance(value, bool) for value in told.values()):
        raise ValueError("permissions that are none")
    return told


def page_of(body: Mapping[str, Any], name: str) -> list[Any]:
    """What one page of a list holds. Coinbase writes `[]` where there is nothing, and its own client is ready for no
    such member at all: that and `null` are nothing as well, but only in an answer that says itself where the list ends.
    """
    page = body.get(name)
    if page is None and "cursor" in body and not body.get("has_next"):
        return []
    if not isinstance(page, list):
        raise ValueError("a list that is none")
    return page


def order_as_ccxt(raw: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    """An order, written as ccxt writes one. What was ordered by an amount of money is as large as it has filled."""
    kinds = [each for each in (raw["order_configuration"] or {}).values() if isinstance(each, Mapping)]
    terms = {name: value for kind in kinds for name, value in kind.items()}
    filled = raw["filled_size"] or "0"
    sized = terms.get("base_size") and Decimal(terms["base_size"])
    return {
        "id": raw["order_id"],
        "clientOrderId": raw["client_order_id"],
        "symbol": symbol,
        "status": raw["status"],
        "side": str(raw["side"]).lower(),
        "amount": terms["base_size"] if sized else filled,
        "filled": filled,
        "average": raw["average_filled_price"],
        "price": terms.get("limit_price"),
        "triggerPrice": terms.get("stop_price") or terms.get("stop_trigger_price"),
    }


def fill_as_ccxt(raw: Mapping[str, Any], symbol: str) -> dict[str, Any]:
    """A fill, written as ccxt writes one. Its fee is in what is paid with, on either side."""
    size = raw["size"]
    if raw["size_in_quote"]:
        size = format(Decimal(size) / Decimal(raw["price"]), "f")
    return {
        "id": raw["trade_id"],
        "order": raw["order_id"],
        "symbol": symbol,
        "side": str(raw["side"]).lower(),
        "price": raw["price"],
        "amount": size,
        "fee": {"cost": raw["commission"], "currency": symbol.partition("/")[2]},
        # Some are of no known kind; a taker's is the dearer one.
        "takerOrMaker": "maker" if raw["liquidity_indicator"] == "MAKER" else "taker",
        "timestamp": milliseconds_of(datetime.fromisoformat(raw["trade_time"])),
    }

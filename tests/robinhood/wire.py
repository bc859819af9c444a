"""Rows as Robinhood writes them, and orders as it reads them.

Seen on its second version in 2026, and taken over here: amounts of orders are strings of 18 places, those of holdings
and averages are numbers, and times are New York's, with six places.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from tests.robinhood.refusals import invalid
from tests.venue.market import Rules
from tests.venue.orders import Ask, Order, Trade

ACCOUNT: Final = "AB1234567890"
NEW_YORK: Final = timezone(timedelta(hours=-4))
SPREAD: Final = Decimal("0.0001")
STATES: Final = {
    "NEW": "open",
    "PARTIALLY_FILLED": "partially_filled",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "EXPIRED": "canceled",
}
KINDS: Final = {"MARKET": "market", "LIMIT": "limit", "STOP_LOSS": "stop_loss"}
TERMS: Final = {
    "market": {"asset_quantity"},
    "limit": {"asset_quantity", "limit_price"},
    "stop_loss": {"asset_quantity", "stop_price", "time_in_force"},
}
IN_FORCE: Final = ("gtc", "gfd", "gfw", "gfm")
AMOUNT: Final = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)
Json = dict[str, Any]

_PLACES: Final = Decimal("1e-18")
_NUMBER: Final = re.compile(r'"@(-?[0-9.]+)"')


def dumps(value: Any) -> bytes:
    """JSON in which a Decimal is a number of all its digits."""
    return _NUMBER.sub(r"\1", json.dumps(value, default=lambda amount: f"@{amount:f}")).encode()


def encoded(query: Mapping[str, str]) -> str:
    """A query."""
    return urlencode(query)


def cursor(row: int) -> str:
    """Where a page begins, in a form that has to be escaped."""
    return base64.b64encode(b"%d" % row).decode()


def milliseconds(text: str, field: str) -> int:
    """A time of a filter; raises Refused."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise invalid(field, "Enter a valid date/time.") from None


def name_of(order: Order) -> str:
    """An order's id."""
    return str(UUID(int=(0x6A8738BA << 96) | (sum(order.symbol.encode()) << 64) | order.id))


def account(buying_power: Decimal) -> Json:
    """The account."""
    return {
        "account_number": ACCOUNT,
        "status": "active",
        "buying_power": f"{buying_power:f}",
        "buying_power_currency": "USD",
    }


def holding(asset: str, total: Decimal, available: Decimal) -> Json:
    """One coin."""
    return {
        "account_number": ACCOUNT,
        "asset_code": asset,
        "total_quantity": total,
        "quantity_available_for_trading": available,
    }


def pair(rules: Rules) -> Json:
    """A symbol."""
    return {
        "asset_code": rules.base,
        "quote_code": rules.quote,
        "quote_increment": f"{rules.tick:f}",
        "asset_increment": f"{rules.step.quantize(_PLACES):f}",
        "max_order_size": f"{rules.most:f}",
        "min_order_size": f"{rules.least:f}",
        "status": "tradable",
        "symbol": rules.symbol,
    }


def price(symbol: str, middle: Decimal, now: int) -> Json:
    """Bid and ask, with their spreads."""
    return {
        "symbol": symbol,
        "price": middle,
        "bid_inclusive_of_sell_spread": middle * (1 - SPREAD),
        "sell_spread": SPREAD,
        "ask_inclusive_of_buy_spread": middle * (1 + SPREAD),
        "buy_spread": SPREAD,
        "timestamp": datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f217Z"),
    }


def order(each: Order) -> Json:
    """An order as it is asked for or listed. Its limit's time in force is not told."""
    kind = KINDS[each.type]
    terms = {"asset_quantity": _padded(each.quantity)}
    if kind == "limit":
        terms["limit_price"] = _padded(each.price)
    elif kind == "stop_loss":
        terms |= {"stop_price": _padded(each.stop_price), "time_in_force": "gtc"}
    return {
        "id": name_of(each),
        "account_number": ACCOUNT,
        "symbol": each.symbol,
        "client_order_id": each.client_id or None,
        "side": each.side.lower(),
        "executions": [_execution(fill) for fill in each.fills],
        "type": kind,
        "state": STATES[each.status],
        "average_price": each.executed_quote / each.executed if each.executed else None,
        "filled_asset_quantity": _padded(each.executed),
        "created_at": _time(each.at),
        "updated_at": _time(each.updated),
        f"{kind}_order_config": terms,
    }


def acknowledged(each: Order) -> Json:
    """The answer to a new order, of which nothing has been carried out yet: chosen."""
    nothing: Json = {
        "executions": [],
        "state": "open",
        "average_price": None,
        "filled_asset_quantity": _padded(Decimal(0)),
    }
    return order(each) | nothing | {"updated_at": _time(each.at)}


def asked(body: str) -> Ask:
    """A new order; raises Refused for whatever is not as it is documented."""
    try:
        told = json.loads(body)
        kind, symbol, side = told["type"], told["symbol"], told["side"]
    except (ValueError, LookupError, TypeError):
        raise invalid("non_field_errors", "This field is required.") from None
    try:
        client_id = str(UUID(told["client_order_id"]))
    except (ValueError, LookupError, AttributeError):
        raise invalid("client_order_id", "Must be a valid UUID.") from None
    if kind not in TERMS:
        raise invalid("type", f'"{kind}" is not a valid choice.')
    if side not in ("buy", "sell"):
        raise invalid("side", f'"{side}" is not a valid choice.')
    allowed = {"client_order_id", "symbol", "side", "type", f"{kind}_order_config"}
    terms = told.get(f"{kind}_order_config")
    if not isinstance(terms, dict) or set(told) != allowed or set(terms) != TERMS[kind]:
        raise invalid(f"{kind}_order_config", "This field is required.")
    if terms.get("time_in_force", "gtc") not in IN_FORCE:
        raise invalid("time_in_force", "Not a valid choice.")
    return Ask(
        symbol,
        side.upper(),
        next(name for name, ours in KINDS.items() if ours == kind),
        client_id,
        _amount(terms, "asset_quantity"),
        price=_amount(terms, "limit_price"),
        stop_price=_amount(terms, "stop_price"),
    )


def _amount(terms: Mapping[str, Any], name: str) -> Decimal | None:
    if name not in terms:
        return None
    try:
        if not AMOUNT.fullmatch(terms[name]):
            raise invalid(name, "A valid number is required.")
        return Decimal(terms[name])
    except (TypeError, InvalidOperation):
        raise invalid(name, "A valid number is required.") from None


def _execution(fill: Trade) -> Json:
    return {"effective_price": _padded(fill.price), "quantity": _padded(fill.quantity), "timestamp": _time(fill.at)}


def _padded(amount: Decimal) -> str:
    return f"{amount.quantize(_PLACES):f}"


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, NEW_YORK).isoformat(timespec="microseconds")

"""What a request says, read strictly: a parameter that is not known is refused, and so is a number that is no text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.coinbase.refusals import NotMade, invalid
from tests.venue.http import HttpRequest
from tests.venue.orders import Ask

LISTS: Final = frozenset(("product_ids", "order_ids", "order_status"))
AMOUNT: Final = re.compile(r"\d{1,20}(\.\d{1,20})?", re.ASCII)
WANTED: Final = frozenset(("client_order_id", "product_id", "side", "order_configuration"))
KINDS: Final[Mapping[str, tuple[str, str, Collection[str], Collection[str]]]] = {
    "market_market_ioc": ("MARKET", "IOC", (), ("base_size", "quote_size")),
    "limit_limit_gtc": ("LIMIT", "GTC", ("base_size", "limit_price"), ("post_only",)),
    "sor_limit_ioc": ("LIMIT", "IOC", ("base_size", "limit_price"), ()),
}
"""Type and time in force, and which members must and may be there."""


def query(request: HttpRequest, *allowed: str) -> dict[str, list[str]]:
    """Values by name; those of a list may come more than once."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True, strict_parsing=bool(request.query)):
        if name not in allowed:
            raise invalid(f"unknown parameter {name}")
        if name in found and name not in LISTS:
            raise invalid(f"{name} came twice")
        found.setdefault(name, []).append(value)
    return found


def whole_number(values: Mapping[str, list[str]], name: str, default: int) -> int:
    """A number that is written with digits alone."""
    text = values[name][0] if name in values else str(default)
    if not text.isdecimal() or not int(text):
        raise invalid(f"{name} is no number")
    return int(text)


def moment(values: Mapping[str, list[str]], name: str) -> int:
    """A time in RFC 3339, in milliseconds; 0 where there is none."""
    if name not in values:
        return 0
    try:
        at = datetime.fromisoformat(values[name][0])
        return round(at.timestamp() * 1000) if at.tzinfo else int("no zone")
    except ValueError:
        raise invalid(f"{name} is no RFC 3339 time") from None


def members(request: HttpRequest) -> dict[str, Any]:
    """The body."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json" or request.query:
        raise invalid("the body is no JSON")
    try:
        body = json.loads(request.body)
    except ValueError:
        raise invalid("the body is no JSON") from None
    if not isinstance(body, dict):
        raise invalid("the body is no object")
    return body


def new_order(request: HttpRequest) -> Ask:
    """An order as it is asked for."""
    body = members(request)
    if not isinstance(body.get("client_order_id"), str) or not body["client_order_id"]:
        raise invalid("client_order_id is required")
    if body.keys() != WANTED:
        raise invalid("members that are missing, or not known: " + ", ".join(sorted(body.keys() ^ WANTED)))
    if body["side"] not in {"BUY", "SELL"}:
        raise invalid("side is required")
    configuration = body["order_configuration"]
    if not isinstance(configuration, dict) or len(configuration) != 1:
        raise invalid("one order_configuration is required")
    ((kind, terms),) = configuration.items()
    if kind not in KINDS:
        raise NotMade("UNSUPPORTED_ORDER_CONFIGURATION", "The order configuration was invalid")
    type_, time_in_force, must, may = KINDS[kind]
    if not isinstance(terms, dict) or not set(must) <= terms.keys() <= {*must, *may}:
        raise invalid(f"{kind} with other members than it has")
    amounts = {name: _amount(name, value) for name, value in terms.items() if name != "post_only"}
    if type_ == "MARKET" and len(amounts) != 1:
        raise NotMade("UNSUPPORTED_ORDER_CONFIGURATION", "Market orders cannot be placed with empty order sizes")
    if terms.get("post_only", False) is not False:
        raise invalid("post_only is not played here")
    return Ask(
        str(body["product_id"]),
        body["side"],
        type_,
        body["client_order_id"],
        quantity=amounts.get("base_size"),
        quote_quantity=amounts.get("quote_size"),
        price=amounts.get("limit_price"),
        time_in_force=time_in_force,
    )


def to_cancel(request: HttpRequest) -> list[str]:
    """Ids of orders."""
    body = members(request)
    listed = body.get("order_ids")
    if body.keys() != {"order_ids"} or not isinstance(listed, list) or not listed:
        raise invalid("order_ids is required")
    if not all(isinstance(each, str) for each in listed):
        raise invalid("order_ids are no texts")
    return listed


def _amount(name: str, value: Any) -> Decimal:
    if not isinstance(value, str) or not AMOUNT.fullmatch(value):
        raise invalid(f"{name} is no number that is written as a text")
    return Decimal(value)

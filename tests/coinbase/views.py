"""What Coinbase tells, as it writes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

from tests.venue.market import Market
from tests.venue.orders import Order, Trade
from tests.venue.writing import plain

SPACE: Final = UUID("5d1c1b6e-58f7-4f0e-9c3b-0f1f6f1c2a11")
USER: Final = str(uuid5(SPACE, "user"))
PORTFOLIO: Final = str(uuid5(SPACE, "portfolio"))
STATUSES: Final = {
    "NEW": "OPEN",
    "PARTIALLY_FILLED": "OPEN",
    "FILLED": "FILLED",
    "CANCELED": "CANCELLED",
    "EXPIRED": "CANCELLED",
}
IN_FORCE: Final = {"GTC": "GOOD_UNTIL_CANCELLED", "IOC": "IMMEDIATE_OR_CANCEL"}


def order_id(order: Order) -> str:
    """Its id: numbers are a symbol's own in the books."""
    return str(uuid5(SPACE, f"order {order.symbol} {order.id}"))


def trade_id(trade: Trade) -> str:
    """Its id."""
    return str(uuid5(SPACE, f"trade {trade.symbol} {trade.id}"))


def client_id(order: Order) -> str:
    """What its placer called it; by hand, on the site, the site does."""
    return order.client_id or str(uuid5(SPACE, f"site {order.symbol} {order.id}"))


def moment(milliseconds: int, digits: int = 6) -> str:
    """A time in RFC 3339."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}{'0' * (digits - 3)}Z"


def configuration(order: Order) -> dict[str, Any]:
    """What was asked for."""
    if order.type == "MARKET":
        by_money = order.quote_quantity > 0
        return {
            "market_market_ioc": {"quote_size": plain(order.quote_quantity)}
            if by_money
            else {"base_size": plain(order.quantity)}
        }
    terms: dict[str, Any] = {"base_size": plain(order.quantity), "limit_price": plain(order.price)}
    if order.time_in_force == "IOC":
        return {"sor_limit_ioc": terms}
    return {"limit_limit_gtc": {**terms, "post_only": False}}


def order_view(order: Order, *, cancelling: bool) -> dict[str, Any]:
    """One order."""
    average = order.executed_quote / order.executed if order.executed else Decimal(0)
    fees = sum((trade.commission for trade in order.fills), Decimal(0))
    after = order.executed_quote + fees if order.side == "BUY" else order.executed_quote - fees
    return {
        "order_id": order_id(order),
        "product_id": order.symbol,
        "user_id": USER,
        "order_configuration": configuration(order),
        "side": order.side,
        "client_order_id": client_id(order),
        "status": "CANCEL_QUEUED" if cancelling and order.open else STATUSES[order.status],
        "time_in_force": IN_FORCE[order.time_in_force if order.type == "LIMIT" else "IOC"],
        "created_time": moment(order.at),
        "completion_percentage": plain(order.executed / order.quantity * 100),
        "filled_size": plain(order.executed),
        "average_filled_price": plain(average),
        "fee": "",
        "number_of_fills": str(len(order.fills)),
        "filled_value": plain(order.executed_quote),
        "pending_cancel": cancelling and order.open,
        "size_in_quote": order.quote_quantity > 0,
        "total_fees": plain(fees),
        "size_inclusive_of_fees": False,
        "total_value_after_fees": plain(after),
        "trigger_status": "INVALID_ORDER_TYPE",
        "order_type": order.type,
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "settled": not order.open and bool(order.fills),
        "product_type": "SPOT",
        "reject_message": "",
        "cancel_message": "User requested cancel" if order.status == "CANCELED" else "",
        "order_placement_source": "RETAIL_ADVANCED",
        "outstanding_hold_amount": plain(order.held),
        "is_liquidation": False,
        "last_fill_time": moment(order.fills[-1].at) if order.fills else None,
        "edit_history": [],
        "leverage": "",
        "margin_type": "UNKNOWN_MARGIN_TYPE",
        "retail_portfolio_id": PORTFOLIO,
        "originating_order_id": "",
        "attached_order_id": "",
        "attached_order_configuration": None,
    }


def fill_view(trade: Trade, order: Order) -> dict[str, Any]:
    """One fill."""
    return {
        "entry_id": sha256(trade_id(trade).encode()).hexdigest(),
        "trade_id": trade_id(trade),
        "order_id": order_id(order),
        "trade_time": moment(trade.at, 9),
        "trade_type": "FILL",
        "price": plain(trade.price),
        "size": plain(trade.quantity),
        "commission": plain(trade.commission),
        "product_id": trade.symbol,
        "sequence_timestamp": moment(trade.at),
        "liquidity_indicator": "MAKER" if trade.maker else "TAKER",
        "size_in_quote": False,
        "user_id": USER,
        "side": trade.side,
        "retail_portfolio_id": PORTFOLIO,
    }


def product_view(market: Market, now: int) -> dict[str, Any]:
    """The rules of one product."""
    rules = market.rules
    return {
        "product_id": rules.symbol,
        "price": plain(market.price(now)),
        "price_percentage_change_24h": "0.5",
        "volume_24h": "9018.13",
        "volume_percentage_change_24h": "-12.5",
        "base_increment": plain(rules.step),
        "quote_increment": plain(rules.tick),
        "quote_min_size": plain(rules.notional),
        "quote_max_size": plain(rules.notional_most),
        "base_min_size": plain(rules.least),
        "base_max_size": plain(rules.most),
        "base_name": rules.base,
        "quote_name": rules.quote,
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": rules.quote,
        "base_currency_id": rules.base,
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": "",
        "alias_to": [f"{rules.base}-USDC"],
        "base_display_symbol": rules.base,
        "quote_display_symbol": rules.quote,
        "view_only": False,
        "price_increment": plain(rules.tick),
        "display_name": rules.symbol,
        "product_venue": "CBE",
        "approximate_quote_24h_volume": "360725200",
        "new_at": "2023-01-01T00:00:00Z",
    }


def account_view(asset: str, free: Decimal, held: Decimal) -> dict[str, Any]:
    """One wallet."""
    fiat = asset == "USD"
    return {
        "uuid": str(uuid5(SPACE, f"wallet {asset}")),
        "name": f"{asset} Wallet",
        "currency": asset,
        "available_balance": {"value": plain(free), "currency": asset},
        "default": True,
        "active": True,
        "created_at": "2023-01-04T06:20:06.456Z",
        "updated_at": "2023-01-04T06:20:07.181Z",
        "deleted_at": None,
        "type": "ACCOUNT_TYPE_FIAT" if fiat else "ACCOUNT_TYPE_CRYPTO",
        "ready": True,
        "hold": {"value": plain(held), "currency": asset},
        "retail_portfolio_id": PORTFOLIO,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }


def made_view(order: Order) -> Mapping[str, Any]:
    """That there is an order."""
    made = {
        "order_id": order_id(order),
        "product_id": order.symbol,
        "side": order.side,
        "client_order_id": client_id(order),
    }
    return {"success": True, "success_response": made, "order_configuration": configuration(order)}

"""How Crypto.com writes things: instruments, candles, orders, trades, balances. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from tests.venue.market import Candle, Market, Rules
from tests.venue.orders import Order, Trade
from tests.venue.writing import plain

Json = dict[str, Any]

ACCOUNT: Final = "96a0edb1-afb5-4c7c-af89-5cb610319e2c"
FIRST_ORDER: Final = 6_142_909_896_900_000_000
FIRST_TRADE: Final = 6_142_909_902_000_000_000
_STATUSES: Final = {"NEW": "ACTIVE", "PARTIALLY_FILLED": "ACTIVE"}
_LIFETIMES: Final = {"GTC": "GOOD_TILL_CANCEL", "IOC": "IMMEDIATE_OR_CANCEL", "FOK": "FILL_OR_KILL"}


def order_id(order: Order) -> str:
    """Its id here, of nineteen digits."""
    return str(FIRST_ORDER + order.id)


def client_oid(client_id: str, at: int) -> str:
    """What its owner called it; for who calls it nothing it is the time of the request."""
    return client_id or str(at)


def nanoseconds(at: int) -> str:
    """A time in milliseconds, finer: all that happens at once has the same, as there."""
    return f"{at}000000"


def instrument(rules: Rules) -> Json:
    """A pair of currencies and its rules."""
    return {
        "symbol": rules.symbol,
        "inst_type": "CCY_PAIR",
        "display_name": f"{rules.base}/{rules.quote}",
        "base_ccy": rules.base,
        "quote_ccy": rules.quote,
        "quote_decimals": -int(rules.tick.as_tuple().exponent),
        "quantity_decimals": -int(rules.step.as_tuple().exponent),
        "price_tick_size": plain(rules.tick),
        "qty_tick_size": plain(rules.step),
        "max_leverage": "50",
        "tradable": True,
        "expiry_timestamp_ms": 0,
        "beta_product": False,
        "product_type": "DIGITAL_CURRENCIES",
        "margin_buy_enabled": True,
        "margin_sell_enabled": True,
    }


PERPETUAL: Final = {
    "symbol": "BTCUSD-PERP",
    "inst_type": "PERPETUAL_SWAP",
    "display_name": "BTCUSD Perpetual",
    "base_ccy": "BTC",
    "quote_ccy": "USD",
    "quote_decimals": 1,
    "quantity_decimals": 4,
    "price_tick_size": "0.1",
    "qty_tick_size": "0.0001",
    "max_leverage": "100",
    "tradable": True,
    "expiry_timestamp_ms": 0,
    "beta_product": False,
    "underlying_symbol": "BTCUSD-INDEX",
    "contract_size": "1",
    "product_type": "DIGITAL_CURRENCIES",
    "margin_buy_enabled": False,
    "margin_sell_enabled": False,
}


def candle(each: Candle) -> Json:
    """One interval."""
    prices = {"o": each.open, "h": each.high, "l": each.low, "c": each.close}
    return {name: plain(price) for name, price in prices.items()} | {"v": plain(each.volume), "t": each.at}


def ticker(market: Market, now: int) -> Json:
    """A market's prices."""
    price, tick = market.price(now), market.rules.tick
    return {
        "i": market.rules.symbol,
        "h": plain(price),
        "l": plain(price),
        "a": plain(price),
        "v": "6921.5068",
        "vv": "495479911.35",
        "c": "0.0171",
        "b": plain(price - tick),
        "k": plain(price + tick),
        "t": now,
    }


def book(market: Market, depth: int, now: int) -> Json:
    """A market's book: an order at each tick."""
    price, tick = market.price(now), market.rules.tick
    bids, asks = (
        [[plain(price + way * tick * step), f"0.{step:05d}", "1"] for step in range(1, depth + 1)] for way in (-1, 1)
    )
    return {"bids": bids, "asks": asks, "t": now}


def order(each: Order) -> Json:
    """An order as it is asked for or listed."""
    buys = each.side == "BUY"
    base, quote = each.symbol.split("_")
    fee = sum((trade.commission for trade in each.fills), Decimal(0))
    row: Json = {
        "account_id": ACCOUNT,
        "order_id": order_id(each),
        "client_oid": client_oid(each.client_id, each.at),
        "order_type": each.type,
        "time_in_force": _LIFETIMES[each.time_in_force],
        "side": each.side,
        "exec_inst": [],
        "quantity": plain(each.quantity),
    }
    if each.type == "LIMIT":
        row["limit_price"] = plain(each.price)
    return row | {
        "order_value": plain(each.quantity * each.hold_price),
        "maker_fee_rate": "0.001",
        "taker_fee_rate": "0.001",
        "avg_price": plain(each.executed_quote / each.executed) if each.executed else "0",
        "ref_price": "0",
        "ref_price_type": "NULL_VAL",
        "cumulative_quantity": plain(each.executed),
        "cumulative_value": plain(each.executed_quote),
        "cumulative_fee": plain(fee),
        "status": _STATUSES.get(each.status, each.status),
        "update_user_id": ACCOUNT,
        "order_date": _day(each.at),
        "instrument_name": each.symbol,
        "fee_instrument_name": base if buys else quote,
        "create_time": each.at,
        "create_time_ns": nanoseconds(each.at),
        "update_time": each.updated,
    }


def trade(each: Trade) -> Json:
    """A fill."""
    return {
        "account_id": ACCOUNT,
        "event_date": _day(each.at),
        "journal_type": "TRADING",
        "side": each.side,
        "instrument_name": each.symbol,
        "fees": plain(-each.commission),
        "trade_id": str(FIRST_TRADE + each.id),
        "trade_match_id": str(4_611_686_018_433_000_000 + each.id),
        "create_time": each.at,
        "traded_price": plain(each.price),
        "traded_quantity": plain(each.quantity),
        "fee_instrument_name": each.commission_asset,
        "client_oid": client_oid(each.client_id, each.at),
        "taker_side": "MAKER" if each.maker else "TAKER",
        "order_id": str(FIRST_ORDER + each.order_id),
        "create_time_ns": nanoseconds(each.at),
    }


def balance(asset: str, free: Decimal, locked: Decimal) -> Json:
    """How much there is of a currency."""
    return {
        "quantity": plain(free + locked),
        "reserved_qty": plain(locked),
        "collateral_amount": "0",
        "haircut": "0",
        "collateral_eligible": True,
        "market_value": "0",
        "max_withdrawal_balance": plain(free),
        "instrument_name": asset,
        "hourly_interest_rate": "0",
    }


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).date().isoformat()

"""How Polymarket writes things: amounts as strings, times in seconds, lists of a question as JSON inside of strings."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any, Final

from tests.polymarket.books import RATE
from tests.venue.market import Market
from tests.venue.orders import Order, Trade
from tests.venue.writing import plain

Json = dict[str, Any]

STATUSES: Final = {
    "NEW": "LIVE",
    "PARTIALLY_FILLED": "LIVE",
    "FILLED": "MATCHED",
    "CANCELED": "CANCELED",
    "EXPIRED": "MATCHED",
}
"""What fills at once and not wholly is told as matched."""
SOMEBODY: Final = "0x" + "5e" * 20
THEIR_KEY: Final = "9180014b-33c8-9240-a14b-bdca11c0a465"


def condition(token: str) -> str:
    """The question that an outcome is of."""
    return "0x" + hashlib.sha256(token.encode()).hexdigest()


def other(token: str) -> str:
    """The other answer."""
    return str(int(hashlib.sha256(b"other" + token.encode()).hexdigest(), 16))


def question(market: Market, *, neg_risk: bool) -> Json:
    """A row of markets, shortened to what is of use and some of what is not."""
    token = market.rules.symbol
    price = str(market.rules.opening)
    return {
        "id": "612119",
        "question": "Will it rain on loopback?",
        "conditionId": condition(token),
        "slug": "will-it-rain-on-loopback",
        "endDate": "2030-12-31T00:00:00Z",
        "liquidity": "22010.6659",
        "outcomes": json.dumps(["Yes", "No"]),
        "outcomePrices": json.dumps([price, str(1 - market.rules.opening)]),
        "clobTokenIds": json.dumps([token, other(token)]),
        "active": True,
        "closed": False,
        "enableOrderBook": True,
        "orderPriceMinTickSize": float(market.rules.tick),
        "orderMinSize": 5,
        "acceptingOrders": True,
        "negRisk": neg_risk,
        "feesEnabled": True,
        "feeType": "politics_fees",
        "feeSchedule": {"exponent": 1, "rate": float(RATE), "takerOnly": True, "rebateRate": 0.25},
    }


def book(market: Market, now: int) -> Json:
    """The order book: the best levels come last."""
    price, tick = market.price(now), market.rules.tick
    bids = [price - tick * each for each in range(1, 6) if price - tick * each > 0]
    asks = [price + tick * each for each in range(6) if price + tick * each < 1]
    return {
        "market": condition(market.rules.symbol),
        "asset_id": market.rules.symbol,
        "timestamp": str(now),
        "hash": "11aa0feabec970de83b04a2c0d50a7639e144f43",
        "bids": [{"price": plain(each), "size": "100.25"} for each in reversed(bids)],
        "asks": [
            {"price": plain(each), "size": "150" if market.depth is None else plain(market.depth / len(asks))}
            for each in reversed(asks)
        ],
        "min_order_size": "5",
        "tick_size": plain(tick),
        "neg_risk": False,
        "last_trade_price": plain(price),
    }


def order(order: Order, order_id: str, key: str, wallet: str, kind: str, expiration: int) -> Json:
    """A row of orders."""
    return {
        "id": order_id,
        "status": STATUSES[order.status],
        "owner": key,
        "maker_address": wallet,
        "market": condition(order.symbol),
        "asset_id": order.symbol,
        "side": order.side,
        "original_size": plain(order.quantity),
        "size_matched": plain(order.executed),
        "price": plain(order.price),
        "outcome": "Yes",
        "expiration": str(expiration),
        "order_type": kind,
        "associate_trades": [trade_id(each) for each in order.fills],
        "created_at": order.at // 1000,
    }


def trade_id(trade: Trade) -> str:
    """A UUID of its own."""
    return str(uuid.UUID(int=trade.id))


def trade(trade: Trade, order_id: str, key: str, wallet: str, now: int) -> Json:
    """A row of trades: whoever took is its taker, and every second one is settled with the other answer."""
    token, sell = trade.symbol, {"BUY": "SELL", "SELL": "BUY"}[trade.side]
    across = trade.id % 2 == 1
    theirs = {
        "asset_id": other(token) if across else token,
        "side": trade.side if across else sell,
        "price": plain(1 - trade.price if across else trade.price),
        "outcome": "No" if across else "Yes",
    }
    ours = {"asset_id": token, "side": trade.side, "price": plain(trade.price), "outcome": "Yes"}
    taking, making = (theirs, ours) if trade.maker else (ours, theirs)
    somebody = {"order_id": "0x" + "ab" * 32, "owner": THEIR_KEY, "maker_address": SOMEBODY}
    self = {"order_id": order_id, "owner": key, "maker_address": wallet}
    return {
        "id": trade_id(trade),
        "taker_order_id": somebody["order_id"] if trade.maker else order_id,
        "market": condition(token),
        **taking,
        "size": plain(trade.quantity),
        "fee_rate_bps": "0",
        "status": "MATCHED" if now - trade.at < 2000 else "CONFIRMED",
        "match_time": str(trade.at // 1000),
        "last_update": str(trade.at // 1000),
        "bucket_index": 0,
        "owner": THEIR_KEY if trade.maker else key,
        "maker_address": SOMEBODY if trade.maker else wallet,
        "transaction_hash": "0x" + hashlib.sha256(trade_id(trade).encode()).hexdigest(),
        "trader_side": "MAKER" if trade.maker else "TAKER",
        "maker_orders": [
            {
                **(self if trade.maker else somebody),
                **making,
                "matched_amount": plain(trade.quantity),
                "fee_rate_bps": "",
            }
        ],
    }

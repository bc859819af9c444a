"""How Binance writes things: orders, trades, candles, rules of symbols. Money is a string of eight decimals."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from tests.binance.limits import Limits
from tests.venue.market import Candle, Market, Rules
from tests.venue.orders import STOPS, Order, Trade

Json = dict[str, Any]

ORDER_TYPES: Final = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT")
NO_LIST: Final = -1
PREVENTION: Final = "EXPIRE_MAKER"


def money(amount: Decimal) -> str:
    """Eight decimals, always."""
    return f"{amount:.8f}"


def _common(order: Order) -> Json:
    row = {
        "price": money(order.price),
        "origQty": money(order.quantity),
        "executedQty": money(order.executed),
        "origQuoteOrderQty": money(order.quote_quantity),
        "cummulativeQuoteQty": money(order.executed_quote),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
    }
    if order.type in STOPS:
        row["stopPrice"] = money(order.stop_price)
    return row | {"selfTradePreventionMode": PREVENTION}


def shown(order: Order) -> Json:
    """An order as it is asked for or listed."""
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": NO_LIST,
        "clientOrderId": order.client_id,
        **_common(order),
        "stopPrice": money(order.stop_price),
        "icebergQty": money(Decimal(0)),
        "time": order.at,
        "updateTime": order.updated,
        "isWorking": order.working,
        "workingTime": order.working_at,
    }


def placed(order: Order, kind: str) -> Json:
    """The answer to a new order: ACK, RESULT or FULL."""
    row: Json = {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": NO_LIST,
        "clientOrderId": order.client_id,
        "transactTime": order.at,
    }
    if kind == "ACK":
        return row
    row |= {**_common(order), "workingTime": order.working_at}
    if kind == "FULL":
        row["fills"] = [
            {
                "price": money(fill.price),
                "qty": money(fill.quantity),
                "commission": money(fill.commission),
                "commissionAsset": fill.commission_asset,
                "tradeId": fill.id,
            }
            for fill in order.fills
        ]
    return row


def cancelled(order: Order, cancel_id: str) -> Json:
    """The answer to a cancel: the order's client id is the original one, the other is the cancel's own."""
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": NO_LIST,
        "clientOrderId": cancel_id,
        "transactTime": order.updated,
        **_common(order),
    }


def traded(trade: Trade) -> Json:
    """A row of myTrades."""
    return {
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order_id,
        "orderListId": NO_LIST,
        "price": money(trade.price),
        "qty": money(trade.quantity),
        "quoteQty": money(trade.quote),
        "commission": money(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.at,
        "isBuyer": trade.side == "BUY",
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


def kline(candle: Candle, length: int) -> list[Any]:
    """A row of klines."""
    quote = candle.volume * candle.close
    return [
        candle.at,
        money(candle.open),
        money(candle.high),
        money(candle.low),
        money(candle.close),
        money(candle.volume),
        candle.at + length - 1,
        money(quote),
        20,
        money(candle.volume / 2),
        money(quote / 2),
        "0",
    ]


def exchange_info(markets: Iterable[Market], limits: Limits, now: int) -> Json:
    """Symbols with their filters, and the limits."""
    return {
        "timezone": "UTC",
        "serverTime": now,
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, limits.weight),
            _limit("ORDERS", "SECOND", 10, limits.orders_10s),
            _limit("ORDERS", "DAY", 1, limits.orders_1d),
        ],
        "exchangeFilters": [],
        "symbols": [_symbol(market.rules) for market in markets],
    }


def _limit(kind: str, interval: str, number: int, most: int | None) -> Json:
    told = 1_000_000_000 if most is None else most
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": told}


def _symbol(rules: Rules) -> Json:
    zero = Decimal(0)
    return {
        "symbol": rules.symbol,
        "status": "TRADING",
        "baseAsset": rules.base,
        "baseAssetPrecision": 8,
        "quoteAsset": rules.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": money(rules.tick),
                "maxPrice": money(rules.highest),
                "tickSize": money(rules.tick),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": money(rules.least),
                "maxQty": money(rules.most),
                "stepSize": money(rules.step),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": money(zero),
                "maxQty": money(rules.market_most),
                "stepSize": money(zero),
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": str(rules.up),
                "bidMultiplierDown": str(rules.down),
                "askMultiplierUp": str(rules.up),
                "askMultiplierDown": str(rules.down),
                "avgPriceMins": 0,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": money(rules.notional),
                "applyMinToMarket": True,
                "maxNotional": money(rules.notional_most),
                "applyMaxToMarket": True,
                "avgPriceMins": 0,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": rules.orders},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": rules.algo_orders},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": PREVENTION,
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }

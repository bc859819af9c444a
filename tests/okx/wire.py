"""How OKX writes things: everything is a string, newest first; what does not apply is empty."""

from __future__ import annotations

from typing import Any, Final

from tests.venue.books import Books
from tests.venue.market import Candle, Market
from tests.venue.orders import ZERO, Order, Trade
from tests.venue.writing import plain

Json = dict[str, Any]

STATES: Final = {
    "NEW": "live",
    "PARTIALLY_FILLED": "partially_filled",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "EXPIRED": "canceled",
}
_BILLS: Final = 680_800_019_754_000_000
"""Where the numbers of bills begin: they are others than those of trades."""


def instrument(market: Market) -> Json:
    """A row of instruments."""
    rules = market.rules
    nothing = (
        *("alias", "auctionEndTime", "contTdSwTime", "ctMult", "ctType", "ctVal", "ctValCcy", "expTime", "instFamily"),
        *("openType", "optType", "preMktSwTime", "settleCcy", "stk", "uly"),
    )
    return dict.fromkeys(nothing, "") | {
        "baseCcy": rules.base,
        "category": "1",
        "futureSettlement": False,
        "groupId": "1",
        "instId": rules.symbol,
        "instIdCode": 1,
        "instType": "SPOT",
        "lever": "10",
        "listTime": "1611907686000",
        "lotSz": plain(rules.step),
        "maxIcebergSz": "9999999999.0000000000000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "9999999999",
        "maxMktAmt": "1000000",
        "maxMktSz": "1000000",
        "maxStopSz": "1000000",
        "maxTriggerSz": "9999999999.0000000000000000",
        "maxTwapSz": "9999999999.0000000000000000",
        "minSz": plain(rules.least),
        "quoteCcy": rules.quote,
        "ruleType": "normal",
        "state": "live",
        "tickSz": plain(rules.tick),
        "tradeQuoteCcyList": [rules.quote],
    }


def ticker(market: Market, now: int) -> Json:
    """A row of tickers, of the last minutes only: a day of steps would take long to look through."""
    price, tick = market.price(now), market.rules.tick
    seen = market.candle(now - 900_000, 900_001, now)
    return {
        "instType": "SPOT",
        "instId": market.rules.symbol,
        "last": plain(price),
        "lastSz": "0.01",
        "askPx": plain(price + tick),
        "askSz": "1",
        "bidPx": plain(price - tick),
        "bidSz": "1",
        "open24h": plain(seen.open),
        "high24h": plain(seen.high),
        "low24h": plain(seen.low),
        "volCcy24h": plain(seen.volume * price),
        "vol24h": plain(seen.volume),
        "ts": str(now),
        "sodUtc0": plain(seen.open),
        "sodUtc8": plain(seen.open),
    }


def book(market: Market, levels: int, now: int) -> Json:
    """The book: price, amount, a nought, and how many orders."""
    price, tick = market.price(now), market.rules.tick
    return {
        "asks": [[plain(price + tick * level), "1", "0", "1"] for level in range(1, levels + 1)],
        "bids": [[plain(price - tick * level), "1", "0", "1"] for level in range(1, levels + 1)],
        "ts": str(now),
        "seqId": now,
    }


def candle(told: Candle, length: int, now: int) -> list[str]:
    """A row of candles; the last member says whether it has closed."""
    prices = [plain(price) for price in (told.open, told.high, told.low, told.close)]
    quote = plain(told.volume * told.close)
    return [str(told.at), *prices, plain(told.volume), quote, quote, "1" if told.at + length <= now else "0"]


def _kind(order: Order) -> str:
    kinds = {"MARKET": "market", "LIMIT_MAKER": "post_only"}
    return kinds.get(order.type) or {"IOC": "ioc", "FOK": "fok"}.get(order.time_in_force, "limit")


def shown(order: Order, base: str, quote: str) -> Json:
    """An order as it is asked for or listed."""
    last = order.fills[-1] if order.fills else None
    buys, at_market = order.side == "BUY", order.type == "MARKET"
    nothing = (
        *("algoClOrdId", "algoId", "attachAlgoClOrdId", "cancelSource", "cancelSourceReason", "ccy", "lever", "pxType"),
        *("pxUsd", "pxVol", "quickMgnType", "slOrdPx", "slTriggerPx", "slTriggerPxType", "source", "stpId", "tag"),
        *("tpOrdPx", "tpTriggerPx", "tpTriggerPxType"),
    )
    return dict.fromkeys(nothing, "") | {
        "accFillSz": plain(order.executed),
        "attachAlgoOrds": [],
        "avgPx": plain(order.executed_quote / order.executed) if order.executed else "",
        "cTime": str(order.at),
        "category": "normal",
        "clOrdId": order.client_id,
        "fee": plain(-sum((fill.commission for fill in order.fills), ZERO)),
        "feeCcy": base if buys else quote,
        "fillPx": plain(last.price) if last else "",
        "fillSz": plain(last.quantity) if last else "0",
        "fillTime": str(last.at) if last else "",
        "instId": order.symbol,
        "instType": "SPOT",
        "isTpLimit": "false",
        "linkedAlgoOrd": {"algoId": ""},
        "ordId": str(order.id),
        "ordType": _kind(order),
        "pnl": "0",
        "posSide": "net",
        "px": "" if at_market else plain(order.price),
        "rebate": "0",
        "rebateCcy": quote if buys else base,
        "reduceOnly": "false",
        "side": order.side.lower(),
        "state": STATES[order.status],
        "stpMode": "cancel_maker",
        "sz": plain(order.quote_quantity or order.quantity),
        "tdMode": "cash",
        "tgtCcy": ("quote_ccy" if order.quote_quantity else "base_ccy") if at_market else "",
        "tradeId": str(last.id) if last else "",
        "tradeQuoteCcy": quote,
        "uTime": str(order.updated),
    }


def bill(trade: Trade) -> int:
    """The number of a fill's bill, which its lists are paged by."""
    return _BILLS + trade.id


def filled(trade: Trade, quote: str) -> Json:
    """A row of fills."""
    nothing = ("fillFwdPx", "fillIdxPx", "fillMarkPx", "fillMarkVol", "fillPxUsd", "fillPxVol", "tag")
    return dict.fromkeys(nothing, "") | {
        "side": trade.side.lower(),
        "fillSz": plain(trade.quantity),
        "fillPx": plain(trade.price),
        "fee": plain(-trade.commission),
        "fillPnl": "0",
        "ordId": str(trade.order_id),
        "feeRate": "-0.001",
        "instType": "SPOT",
        "instId": trade.symbol,
        "clOrdId": trade.client_id,
        "posSide": "net",
        "billId": str(bill(trade)),
        "subType": "1" if trade.side == "BUY" else "2",
        "fillTime": str(trade.at),
        "execType": "M" if trade.maker else "T",
        "tradeId": str(trade.id),
        "feeCcy": trade.commission_asset,
        "ts": str(trade.at),
        "tradeQuoteCcy": quote,
    }


def balance(books: Books, now: int) -> Json:
    """The account: currencies of which there is something, as in its mode for spot trading alone."""
    nothing = (
        *("availEq", "borrowFroz", "clSpotInUseAmt", "crossLiab", "imr", "interest", "isoEq", "isoLiab", "isoUpl"),
        *("liab", "maxLoan", "maxSpotInUse", "mgnRatio", "mmr", "notionalLever", "spotInUseAmt", "stgyEq", "twap"),
        *("upl", "uplLiab"),
    )
    details = [
        dict.fromkeys(nothing, "")
        | {
            "availBal": plain(free),
            "cashBal": plain(free + books.locked[asset]),
            "ccy": asset,
            "disEq": plain(free + books.locked[asset]),
            "eq": plain(free + books.locked[asset]),
            "eqUsd": plain(free + books.locked[asset]),
            "fixedBal": "0",
            "frozenBal": plain(books.locked[asset]),
            "ordFrozen": plain(books.locked[asset]),
            "rewardBal": "0",
            "spotIsoBal": "0",
            "uTime": str(books.updated),
        }
        for asset, free in books.free.items()
        if free or books.locked[asset]
    ]
    return {
        **dict.fromkeys(
            ("adjEq", "borrowFroz", "imr", "isoEq", "mgnRatio", "mmr", "notionalUsd", "ordFroz", "upl"), ""
        ),
        "details": details,
        "totalEq": "0",
        "uTime": str(now),
    }

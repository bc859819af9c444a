"""Orders, trades and prices as Kraken writes them down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from string import ascii_uppercase, digits
from typing import Any, Final

from tests.kraken.books import NAMELESS
from tests.venue.market import Candle, Market
from tests.venue.orders import OPEN, Order, Trade

Json = dict[str, Any]

RECORDED: Final[Json] = json.loads(
    (Path(__file__).parent.parent / "data" / "ccxt-static" / "kraken.json").read_text("utf-8")
)
PAIRS: Final[Mapping[str, Json]] = RECORDED["AssetPairs"]["result"]
_LETTERS: Final = digits + ascii_uppercase
_TYPES: Final = {"LIMIT": "limit", "MARKET": "market", "STOP_LOSS": "stop-loss"}


def name(letter: str, number: int) -> str:
    """A number as Kraken writes the ids of orders (O) and trades (T)."""
    written = ""
    while number:
        number, left = divmod(number, len(_LETTERS))
        written = _LETTERS[left] + written
    written = written.rjust(16, "Q")
    return f"{letter}{written[:5]}-{written[5:10]}-{written[10:]}"


def number(letter: str, written: str) -> int | None:
    """What `name` was given; None for what is no id at all."""
    if not re.fullmatch(rf"{letter}[0-9A-Z]{{5}}-[0-9A-Z]{{5}}-[0-9A-Z]{{6}}", written):
        return None
    return int(written[1:].replace("-", "").lstrip("Q") or "0", 36)


def amount(value: Decimal, places: int) -> str:
    """A number with so many decimals."""
    return f"{value:.{places}f}"


def seconds(milliseconds: int) -> float:
    """A time as Kraken tells it."""
    return milliseconds / 1000


def order(each: Order, *, trades: bool) -> Json:
    """An order, open or ended."""
    pair = PAIRS[each.symbol]
    is_open, nameless = each.status in OPEN, each.foreign or each.client_id.startswith(NAMELESS)
    status = {"FILLED": "closed"}.get(each.status, "open" if is_open else "canceled")
    average = each.executed_quote / each.executed if each.executed else Decimal(0)
    shown: Json = {
        "refid": None,
        "userref": 0 if nameless else None,
        "cl_ord_id": None if nameless else each.client_id,
        "status": status,
        "opentm": seconds(each.at),
        "starttm": 0,
        "expiretm": 0,
        "descr": {
            "pair": pair["altname"],
            "type": each.side.lower(),
            "ordertype": _TYPES[each.type],
            "price": _price(each),
            "price2": "0",
            "leverage": "none",
            "order": description(each),
            "close": "",
        },
        "vol": amount(each.quantity, 8),
        "vol_exec": amount(each.executed, 8),
        "cost": amount(each.executed_quote, 5),
        "fee": amount(sum((trade.commission for trade in each.fills), Decimal(0)), 5),
        "price": amount(average, 5),
        "stopprice": amount(each.stop_price, 5),
        "limitprice": "0.00000",
        "misc": "",
        "oflags": "fciq",
    }
    if trades and each.fills:
        shown["trades"] = [name("T", trade.id) for trade in each.fills]
    if not is_open:
        shown |= {"reason": "User requested" if each.status == "CANCELED" else None, "closetm": seconds(each.updated)}
    return shown


def description(each: Order) -> str:
    """An order in one line."""
    words = [each.side.lower(), amount(each.quantity, 8), PAIRS[each.symbol]["altname"], "@"]
    words.append(_TYPES[each.type].replace("-", " "))
    if each.type != "MARKET":
        words.append(_price(each))
    return " ".join(words)


def _price(each: Order) -> str:
    price = each.stop_price if each.type == "STOP_LOSS" else each.price
    return amount(price, int(PAIRS[each.symbol]["pair_decimals"])) if price else "0"


def trade(each: Trade, of: Order) -> Json:
    """A fill."""
    return {
        "ordertxid": name("O", each.order_id),
        "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": each.symbol,
        "aclass": "forex",
        "time": seconds(each.at),
        "type": each.side.lower(),
        "ordertype": _TYPES[of.type],
        "price": amount(each.price, 5),
        "cost": amount(each.quote, 5),
        "fee": amount(each.commission, 5),
        "vol": amount(each.quantity, 8),
        "margin": "0.00000",
        "leverage": "0",
        "misc": "",
        "trade_id": each.id,
        "maker": each.maker,
    }


def ticker(price: Decimal, tick: Decimal) -> Json:
    """A symbol's day."""
    last, bid, ask = (amount(each, 5) for each in (price, price - tick, price))
    return {
        "a": [ask, "1", "1.000"],
        "b": [bid, "1", "1.000"],
        "c": [last, "0.00160710"],
        "v": ["165.16072288", "598.03698452"],
        "p": [last, last],
        "t": [6405, 21103],
        "l": [last, last],
        "h": [last, last],
        "o": last,
    }


def depth(price: Decimal, tick: Decimal, levels: int, at: int) -> Json:
    """The book around a price."""

    def side(prices: Iterable[Decimal]) -> list[list[str | int]]:
        return [[amount(each, 5), "1.199", at // 1000] for each in prices]

    return {
        "asks": side(price + tick * place for place in range(levels)),
        "bids": side(price - tick * (place + 1) for place in range(levels)),
    }


def candles(market: Market, minutes: int, since: int, now: int, most: int) -> list[list[str | int]]:
    """What opened after a time, in seconds, and the last one whenever it opened."""
    length = minutes * 60_000
    last = now // length * length
    times = range(last - (most - 1) * length, last + 1, length)
    return [_row(market.candle(at, length, now)) for at in times if at // 1000 > since or at == last]


def _row(candle: Candle) -> list[str | int]:
    prices = (candle.open, candle.high, candle.low, candle.close, candle.close)
    return [candle.at // 1000, *(amount(each, 1) for each in prices), amount(candle.volume, 8), 42]

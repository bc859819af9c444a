"""Polymarket's orders and trades as values of ours, and what it will call an order. Pure: the hash is handed in.

Its id of an order is the hash of what was signed. So an order whose every signed field follows from our client order id
and from its own terms has an id that is known before it is sent; the same request sent twice is one order there, by the
exchange's books and by the chain's; and a row of its lists, which names no id of ours, can be told to be ours or not by
working out what the order would be called. The fields that are free are a number and a time of signing: both are taken
from our id, which means that the time is made up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any, Final

from node_agent.core.market import Book, Candle, ExchangeOrder, ExchangeStatus, Level, Side
from node_agent.exchanges.reading import milliseconds_of, time_of

STEP: Final = Decimal("0.01")
FINEST: Final = Decimal("0.0001")
"""The finest tick size that there is."""
DUST: Final = Decimal("0.01")
"""What may be left of an order that counts as filled."""
QUOTE: Final = "USDC"

_UNITS: Final = 6
"""Places of an amount as it is signed."""
_SALT_BITS: Final = 53
_FIRST_TIME: Final = 1_700_000_000_000
_TIMES: Final = 2 * 365 * 86_400_000
"""Signing times are so many milliseconds after the first at most: in 2023 to 2025, so never ahead of the exchange's."""
_FEE_PLACES: Final = Decimal("1e-5")
_AVERAGE_PLACES: Final = Decimal("1e-8")
_MILLISECONDS_FROM: Final = 10**11
"""A larger time is told in milliseconds."""
_STATUSES: Final = {
    "LIVE": ExchangeStatus.OPEN,
    "DELAYED": ExchangeStatus.OPEN,
    "UNMATCHED": ExchangeStatus.OPEN,
    "MATCHED": ExchangeStatus.FILLED,
    "CANCELED": ExchangeStatus.CANCELLED,
    "CANCELLED": ExchangeStatus.CANCELLED,
    "CANCELED_MARKET_RESOLVED": ExchangeStatus.CANCELLED,
    "SYSTEM_CLEARED": ExchangeStatus.CANCELLED,
    "INVALID": ExchangeStatus.CANCELLED,
    "EXPIRED": ExchangeStatus.EXPIRED,
}
_ORDER_TYPE: Final = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


@dataclass(frozen=True, slots=True)
class Fees:
    """What a market takes of a trade: rate x (price x (1 - price)) ^ exponent, of each share."""

    rate: Decimal = Decimal(0)
    exponent: Decimal = Decimal(1)
    makers_too: bool = False

    def of(self, price: Decimal, amount: Decimal, *, maker: bool) -> Decimal:
        """The fee of one trade, in the quote currency."""
        if not self.rate or (maker and not self.makers_too):
            return Decimal(0)
        return (amount * self.rate * (price * (1 - price)) ** self.exponent).quantize(_FEE_PLACES, ROUND_DOWN)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is traded under a symbol: one answer to one question."""

    token: str
    condition: str
    tick: Decimal
    neg_risk: bool
    """Whether it is settled by the other of the exchange's two contracts."""
    fees: Fees


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with an order."""

    side: Side
    price: Decimal
    amount: Decimal
    at: datetime | None = None
    """When it was placed, where that is known."""


class Ids:
    """What the exchange calls the orders of one wallet for one outcome."""

    def __init__(
        self,
        keccak: Callable[[bytes], bytes],
        contract: Mapping[str, Any],
        *,
        maker: str,
        signer: str,
        kind: int,
        outcome: Outcome,
    ) -> None:
        """`contract`: its name, version, chain and two addresses, as ccxt's options have them."""
        self.outcome = outcome
        self._keccak = keccak
        address = contract["negRiskExchangeAddress" if outcome.neg_risk else "exchangeAddress"]
        self._domain = self._struct(
            _DOMAIN_TYPE,
            keccak(contract["ctfExchangeName"].encode()),
            keccak(contract["ctfExchangeVersion"].encode()),
            int(contract["chainId"]),
            int(address, 16),
        )
        self._maker, self._signer, self._kind, self._token = int(maker, 16), int(signer, 16), kind, int(outcome.token)

    def of(self, client_order_id: str, terms: Terms) -> str:
        """The id of our order with these terms. Raises ValueError for terms that cannot be signed."""
        shares, paid = _units(terms.amount), _units(terms.amount * terms.price)
        gives, gets = (paid, shares) if terms.side is Side.BUY else (shares, paid)
        return self.hash(*free_fields(client_order_id), terms.side, gives, gets)

    def hash(self, salt: int, at: int, side: Side, gives: int, gets: int) -> str:
        """The id of an order that is signed with these."""
        who = (self._maker, self._signer, self._token)
        how = (list(Side).index(side), self._kind, at, 0, 0)
        order = self._struct(_ORDER_TYPE, salt, *who, gives, gets, *how)
        return "0x" + self._keccak(b"\x19\x01" + self._domain + order).hex()

    def _struct(self, kind: str, *members: bytes | int) -> bytes:
        words = (each if isinstance(each, bytes) else each.to_bytes(32, "big") for each in members)
        return self._keccak(self._keccak(kind.encode()) + b"".join(words))


def free_fields(client_order_id: str) -> tuple[int, int]:
    """Salt and signing time of an order, in milliseconds."""
    digest = int.from_bytes(hashlib.sha256(b"polymarket\0" + client_order_id.encode()).digest(), "big")
    return digest % (1 << _SALT_BITS), _FIRST_TIME + (digest >> _SALT_BITS) % _TIMES


def _units(amount: Decimal) -> int:
    scaled = amount.scaleb(_UNITS)
    if scaled != scaled.to_integral_value():
        raise ValueError("an amount that is too fine to be signed")
    return int(scaled)


def money(value: Any) -> Decimal:
    """An amount. Raises ValueError for what is none."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} where an amount should be")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError("an amount that is none") from None
    if not amount.is_finite():
        raise ValueError("an amount that is none")
    return amount


def balance_of(raw: Mapping[str, Any]) -> Decimal:
    """What a wallet holds, from how many units of it."""
    return money(raw["balance"]).scaleb(-_UNITS)


def outcome_of(raw: Mapping[str, Any], token: str) -> Outcome:
    """One outcome, from the market that it is one of."""
    told = raw.get("feeSchedule") if raw.get("feesEnabled", True) else None
    fees = Fees()
    if told is not None:
        fees = Fees(money(told["rate"]), money(told["exponent"]), makers_too=told.get("takerOnly") is False)
    tick = money(raw["orderPriceMinTickSize"])
    if not FINEST <= tick < 1:
        raise ValueError("a tick size that is none")
    # Its least amount is one of orders that rest alone: what is sold at once may be less.
    return Outcome(token, str(raw["conditionId"]), tick, raw.get("negRisk") is True, fees)


def terms_of(raw: Mapping[str, Any]) -> Terms:
    """What was agreed with an order, from its row."""
    placed = time_of(_milliseconds(raw["created_at"])) if raw.get("created_at") else None
    return Terms(Side(raw["side"].lower()), money(raw["price"]), money(raw["original_size"]), placed)


def order_of(raw: Mapping[str, Any], symbol: str, client_order_id: str) -> ExchangeOrder:
    """An order, from its row, which tells its limit and no average.

    It is told as matched when it can trade no more, whatever was left of it.
    """
    told = str(raw["status"]).upper().removeprefix("ORDER_STATUS_")
    if told not in _STATUSES:
        raise ValueError(f"an order of status {told!r}")
    status = _STATUSES[told]
    amount, filled = money(raw["original_size"]), money(raw["size_matched"])
    if status is ExchangeStatus.FILLED and amount - filled >= DUST:
        status = ExchangeStatus.CANCELLED
    return ExchangeOrder(client_order_id, str(raw["id"]), symbol, status, amount, filled)


def fills_of(raw: Mapping[str, Any], symbol: str, wallet: str, outcome: Outcome) -> Iterator[dict[str, Any]]:
    """What one trade filled of the wallet's orders for the outcome, in ccxt's words. `wallet` is in lower case.

    A trade names the order that took, and those that it took from. What was taken from may be an order for the other
    outcome: a buy of one answer is as good as a sell of the other. A trade that failed on the chain is none.
    """
    if raw["status"].upper().removeprefix("TRADE_STATUS_") == "FAILED":
        return
    common = {"timestamp": _milliseconds(raw["match_time"]), "symbol": symbol}
    if raw["trader_side"].upper() == "TAKER" and raw["asset_id"] == outcome.token:
        yield common | _fill(raw["id"], raw["taker_order_id"], raw, raw["size"], outcome.fees, maker=False)
    for each in raw["maker_orders"]:
        if each["asset_id"] == outcome.token and each["maker_address"].lower() == wallet:
            # One trade may take from several orders of ours.
            number = f"{raw['id']}-{each['order_id'][2:10]}"
            yield common | _fill(number, each["order_id"], each, each["matched_amount"], outcome.fees, maker=True)


def _fill(number: str, order_id: str, of: Mapping[str, Any], amount: str, fees: Fees, *, maker: bool) -> dict[str, Any]:
    fee = fees.of(money(of["price"]), money(amount), maker=maker)
    return {
        "id": number,
        "order": order_id,
        "side": of["side"].lower(),
        "price": of["price"],
        "amount": amount,
        "takerOrMaker": "maker" if maker else "taker",
        "fee": {"cost": format(fee, "f"), "currency": QUOTE},
    }


def average_of(fills: Sequence[Mapping[str, Any]], filled: Decimal) -> Decimal | None:
    """What an order paid by its fills; None while they do not come to what is filled."""
    amount = sum((money(each["amount"]) for each in fills), Decimal(0))
    if not amount or filled - amount >= DUST:
        return None
    cost = sum((money(each["amount"]) * money(each["price"]) for each in fills), Decimal(0))
    return (cost / amount).quantize(_AVERAGE_PLACES)


def book_of(raw: Mapping[str, Any], symbol: str, depth: int) -> Book:
    """The best levels of each side; they are told the worst first."""
    bids, asks = (
        sorted((Level(money(each["price"]), money(each["size"])) for each in raw[side]), key=_price)
        for side in ("bids", "asks")
    )
    return Book(symbol, tuple(bids[::-1][:depth]), tuple(asks[:depth]))


def _price(level: Level) -> Decimal:
    return level.price


def candles_of(history: Sequence[Mapping[str, Any]], symbol: str, interval: timedelta, since: datetime) -> list[Candle]:
    """Candles that opened at or after a time, from samples of the price: of its volume nothing is told."""
    length, first = interval // timedelta(milliseconds=1), since.timestamp() * 1000
    prices: dict[int, list[Decimal]] = {}
    for each in sorted(history, key=lambda sample: int(sample["t"])):
        opened = _milliseconds(each["t"]) // length * length
        if opened >= first:
            prices.setdefault(opened, []).append(money(each["p"]))
    return [
        Candle(symbol, time_of(opened), told[0], max(told), min(told), told[-1], Decimal(0), interval)
        for opened, told in prices.items()
    ]


def _milliseconds(told: Any) -> int:
    """A time, told in seconds, in milliseconds or as a date."""
    if isinstance(told, str) and not told.isdecimal():
        return milliseconds_of(datetime.fromisoformat(told))
    number = int(told)
    return number if number >= _MILLISECONDS_FROM else number * 1000

"""One wallet on Polymarket and one outcome, behind the port.

There is no client order id. `polymarket_orders.py` has every signed field of an order follow from ours and from the
order's terms, so its id is known before it is sent, and the exchange refuses what it has seen. Who comes back without
memory asks `find_order` with our id alone: it works out what every open order, and every order of the account that has
traded, would be called under it. An order that ended without a trade is not in those lists; it is sent once more then,
refused as a duplicate, and by that known to have ended. What remains open: the signing time is made up, and nothing is
known of an exchange that minds; an order that traded, and that the exchange tells nothing of any more, is not known
again unless it was filled whole at a price that can be guessed, and is told as somebody else's until it is sent again;
and should the exchange change its contract, no id is the same any more.

At market a buy may pay 0.99 and a sell may get 0.01 (0.9 and 0.1 where the tick size is 0.1): always the same, for a
price of the moment would make another order of it when it is sent again. What Polymarket itself calls a market buy
spends a sum, and buys more than was asked for when the price is better. So a buy that is to fill at once is sent as a
limit that expires within minutes, and its rest is cancelled; for a sell the sum is in shares, and it is sent as it is.

A fill is told when it was matched. One that fails on the chain afterwards, which at times
are many, is told no more, but what was told is not taken back: then our books are wrong until the balance is looked at.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from node_agent.core.market import (
    Book,
    Candle,
    ExchangeOrder,
    ExchangeStatus,
    Market,
    OpenOrder,
    OrderRequest,
    OrderType,
    Side,
    Ticker,
    TimeInForce,
)
from node_agent.exchanges.failures import DuplicateOrder, NoSuchOrder
from node_agent.exchanges.line import Line
from node_agent.exchanges.polymarket_line import KeyedLine
from node_agent.exchanges.polymarket_orders import (
    DUST,
    FINEST,
    QUOTE,
    STEP,
    Ids,
    Terms,
    average_of,
    balance_of,
    book_of,
    candles_of,
    fills_of,
    free_fields,
    money,
    order_of,
    outcome_of,
    terms_of,
)
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OrderRefused, OutcomeUnknown
from node_agent.exchanges.profile import Opening
from node_agent.exchanges.spot import SpotExchange, exact, legible
from node_agent.exchanges.traits import Traits

_ID: Final = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_OWN_CONTRACT: Final = 3
"""The kind of wallet that is its own signer."""
_EXPIRES: Final = timedelta(seconds=200)
"""The exchange wants a minute of an order's time at least, and takes one off."""
_AT_ONCE: Final = "GTD"
"""The type of order that a buy is sent as that is to fill at once. No other of ours is one."""
_FEW: Final = 3
_ALL: Final = 10_000
"""More levels than a book has."""
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_SPAN: Final = timedelta(days=14)
"""Of prices; more than 15 days are too many for the exchange."""
_BOUNDS: Final = (Decimal("0.99"), Decimal("0.9"))
"""What a buy at market may pay: the first that the tick size allows."""


class Polymarket(SpotExchange):
    """One wallet, one outcome."""

    def __init__(self, line: Line, traits: Traits, opening: Opening) -> None:
        super().__init__(line, traits, symbol=opening.symbol, interval=opening.interval)
        self._token = opening.symbol.partition("/")[0]
        self._wallet = opening.credentials["wallet"].get_secret_value().lower()
        self._kind = int(traits.options["signatureType"])
        self._keyed = KeyedLine(line)
        self._loaded: Ids | None = None
        self._terms: dict[str, Terms] = {}
        """Of every order that was seen or sent, by the exchange's ids."""
        self._there: dict[str, float] = {}
        """Orders that the exchange has surely had, and since when we know it, by a clock that nobody sets."""
        self._at_once: set[str] = set()
        """Buys whose rest is to be cancelled wherever it is seen: they bid far above the price."""

    def know(self, orders: Iterable[tuple[str, str]]) -> None:
        """Client order ids and exchange order ids that belong together, from before."""
        for client_order_id, exchange_order_id in orders:
            super().know([(client_order_id, exchange_order_id)])
            self._there.setdefault(exchange_order_id, time.monotonic())

    async def balances(self) -> Mapping[str, Decimal]:
        """What the wallet holds of the quote and of the outcome; what there is nothing of is left out."""
        await self._be_ready()
        kind = {"signature_type": self._kind}
        held = {}
        for name, what in ((QUOTE, {"asset_type": "COLLATERAL"}), (self._token, _conditional(self._token))):
            held[name] = await self._keyed.ask(balance_of, "clobPrivateGetBalanceAllowance", {**what, **kind})
        return {name: amount for name, amount in held.items() if amount}

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        """Place it, once. An order that the exchange knows is answered with as it stands."""
        await self._be_ready()
        kind, price, parameters = self._asked_for(request)
        terms = Terms(request.side, money(price), request.amount, self._line.exchange_time())
        order_id = self._ids.of(request.client_order_id, terms)
        if order_id not in self._terms and (request.type, request.side) == (OrderType.MARKET, Side.BUY):
            await self._offered(request.amount, terms.price)
        self._client_ids[order_id], self._exchange_ids[request.client_order_id] = request.client_order_id, order_id
        self._terms[order_id] = terms
        what = (self._token, kind, request.side.value, exact(request.amount), price, parameters)
        if parameters["orderType"] == _AT_ONCE:
            self._at_once.add(order_id)
        held = {"asset_type": "COLLATERAL"} if request.side is Side.BUY else _conditional(self._token)
        with contextlib.suppress(ExchangeError):  # its books are late with what was bought a moment ago
            kept = {**held, "signature_type": self._kind}
            await self._keyed.ask(_anything, "clobPrivateGetBalanceAllowanceUpdate", kept)
        try:
            order, delayed = await self._keyed.ask(partial(_placed, request), "create_order", *what, acts=True)
        except DuplicateOrder:
            return await self._first(request)
        order = self._seen(order)
        if order_id in self._at_once and not delayed:
            order = await self._without_rest(order)
        self._follower.note(order)
        return order

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All open orders of the account for the outcome, whoever placed them."""
        await self._be_ready()
        rows, orders = await self._open(), []
        for raw in rows:
            with legible():
                order, terms = self._read_order(raw), self._terms[raw["id"]]
            if raw["id"] in self._at_once:
                order = await self._without_rest(order)
            if order.status is ExchangeStatus.OPEN:
                orders.append(OpenOrder(order, terms.side, terms.price))
        return orders

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders that are open, that traded since, or that we remember to have placed since."""
        orders = {each.order.exchange_order_id: each.order for each in await self.open_orders()}
        with legible():
            others = {raw["order"] for raw in await self._raw_trades(since)}
        others |= {known for known in self._there if (at := self._placed_at(known)) is not None and at >= since}
        for order_id in sorted(others - orders.keys()):
            with contextlib.suppress(NoSuchOrder):
                orders[order_id] = await self.order(order_id)
        return list(orders.values())

    async def order(self, exchange_order_id: str) -> ExchangeOrder:
        """An order by its id, with what it paid by its trades. Of one that was to fill at once no rest is left."""
        order = await self._as_it_stands(exchange_order_id)
        if order.status is ExchangeStatus.OPEN and exchange_order_id in self._at_once:
            order = await self._without_rest(order)
        return order

    async def _as_it_stands(self, exchange_order_id: str) -> ExchangeOrder:
        try:
            order = await self._keyed.ask(self._read_order, "clobPrivateGetDataOrderId", {"id": exchange_order_id})
        except NoSuchOrder:
            return await self._untold(exchange_order_id)
        if not order.filled:
            return order
        return replace(order, average_price=average_of(await self._raw_trades_of(exchange_order_id), order.filled))

    async def ticker(self) -> Ticker:
        """Last price, best bid and best ask."""
        book = await self.book(1)
        told = await self._line.ask(_last_price, "clobPublicGetLastTradePrice", {"token_id": self._token})
        bid, ask = (side[0].price if side else None for side in (book.bids, book.asks))
        return Ticker(self._symbol, told, bid, ask)

    async def book(self, depth: int) -> Book:
        """The best levels of each side: at most so many."""
        await self._be_ready()
        read = partial(book_of, symbol=self._symbol, depth=depth)
        return await self._line.ask(read, "clobPublicGetBook", {"token_id": self._token})

    async def candles(self, since: datetime | None) -> Sequence[Candle]:
        """Candles that opened at or after a time, the open one among them; the last three when None.

        They are made of samples of the price, of which there is about one a minute: one minute's has one price.
        """
        await self._be_ready()
        now = self._line.exchange_time()
        begin = now - _FEW * self._interval - (now - _EPOCH) % self._interval if since is None else since
        until = min(now, begin + min(self._traits.page * self._interval, _SPAN))
        query = {
            "market": self._token,
            "fidelity": self._interval // timedelta(minutes=1),
            "startTs": int(begin.timestamp()),
            "endTs": int(until.timestamp()) + 1,
        }

        def read(raw: Any) -> list[Candle]:
            candles = candles_of(raw["history"], self._symbol, self._interval, begin)
            return candles[-_FEW:] if since is None else candles

        return await self._line.ask(read, "clobPublicGetPricesHistory", query)

    async def _be_ready(self) -> None:
        """Rules, clock, and the second key."""
        await super()._be_ready()
        await self._keyed.be_ready()

    async def _load(self) -> None:
        rows = await self._line.ask(list, "gammaPublicGetMarkets", {"clob_token_ids": self._token})
        if not rows:
            raise ExchangeUnavailable(f"{self.name} has no market of the outcome {self._token}")
        if any(raw.get("version", "v1") != "v1" for raw in rows):
            raise ExchangeUnavailable(f"{self._token} is an outcome of Polymarket's second protocol: not known here")
        client = self._keyed.client
        with legible():
            # ccxt would load some hundreds of questions to find the one.
            client.markets = {each["market"]: each for each in client.parse_event_to_markets({"markets": rows})}
            client.populate_outcomes()
            outcome = outcome_of(client.outcomes_by_id[self._token]["info"], self._token)
            signer = client.eth_get_address_from_private_key(client.privateKey)
            self._loaded = Ids(
                lambda words: bytes(client.hash(words, "keccak", "binary")),
                client.options,
                maker=self._wallet,
                signer=self._wallet if self._kind == _OWN_CONTRACT else signer,
                kind=self._kind,
                outcome=outcome,
            )
        market = Market(self._symbol, self._token, QUOTE, outcome.tick, STEP, Decimal(0))
        self._markets = {self._symbol: market}

    async def _first(self, request: OrderRequest) -> ExchangeOrder:
        """The order that this request already is."""
        order_id = self._exchange_ids[request.client_order_id]
        self._there.setdefault(order_id, time.monotonic())
        try:
            order = await self.order(order_id)
        except ExchangeError as error:
            raise OutcomeUnknown(f"the exchange has this order, but it could not be read: {error}") from None
        self._follower.note(order)
        return order

    async def _offered(self, amount: Decimal, bound: Decimal) -> None:
        """Raises OrderRefused where less is offered: the rest would bid far above the price until it is gone."""
        asks = (await self.book(_ALL)).asks
        offered = sum((each.amount for each in asks if each.price <= bound), Decimal(0))
        if offered < amount:
            raise OrderRefused(f"not sent: no more than {offered} is offered up to {bound}")

    async def _without_rest(self, order: ExchangeOrder) -> ExchangeOrder:
        """What became of an order that was to fill at once. What fails is tried again when it is next seen."""
        with contextlib.suppress(ExchangeError):
            return await self._cancelled(order.client_order_id, order.symbol)
        with contextlib.suppress(ExchangeError):
            return await self._as_it_stands(order.exchange_order_id)
        return order

    async def _untold(self, order_id: str) -> ExchangeOrder:
        """How an order stands that the exchange has had and tells nothing of.

        It may not tell yet, or no more. Raises NoSuchOrder for one that it may never have had.
        """
        if order_id not in self._there:
            raise NoSuchOrder(f"{self.name} has no order {order_id}")
        trades, terms = await self._raw_trades_of(order_id), self._terms.get(order_id)
        filled = sum((money(each["amount"]) for each in trades), Decimal(0))
        amount = filled if terms is None else terms.amount
        there_for = time.monotonic() - self._there[order_id]
        if terms is not None and amount - filled < DUST:
            status = ExchangeStatus.FILLED
        elif there_for < self.conduct.settles_within.total_seconds() or await self._is_open(order_id):
            status = ExchangeStatus.OPEN
        else:
            status = ExchangeStatus.CANCELLED
        ours = self._client_ids.get(order_id, "")
        return ExchangeOrder(ours, order_id, self._symbol, status, amount, filled, average_of(trades, filled))

    async def _is_open(self, order_id: str) -> bool:
        return order_id in {raw["id"] for raw in await self._open()}

    async def _listed(self, client_order_id: str) -> ExchangeOrder | None:
        """The order under this id among open orders and among those that have traded, by what they would be called."""
        with legible():
            for raw in await self._open():
                if not self._client_ids.get(raw["id"]) and self._is_ours(client_order_id, raw["id"], [terms_of(raw)]):
                    return await self.order(raw["id"])
            trades = await self._raw_trades(self._line.exchange_time() - self._traits.looks_back)
            for order_id in sorted({raw["order"] for raw in trades if not self._client_ids.get(raw["order"])}):
                if self._is_ours(client_order_id, order_id, await self._possible_terms(order_id, trades)):
                    return await self.order(order_id)
        return None

    async def _possible_terms(self, order_id: str, trades: Iterable[Any]) -> list[Terms]:
        """What was agreed with an order that has traded; where it is not told, what may have been."""
        if order_id not in self._terms:
            with contextlib.suppress(NoSuchOrder):
                await self._keyed.ask(self._read_order, "clobPrivateGetDataOrderId", {"id": order_id})
        if order_id in self._terms:
            return [self._terms[order_id]]
        of_it = [each for each in trades if each["order"] == order_id]
        amount, side = sum((money(each["amount"]) for each in of_it), Decimal(0)), Side(of_it[0]["side"])
        bounds = {bound if side is Side.BUY else 1 - bound for bound in _BOUNDS}
        return [Terms(side, price, amount) for price in sorted(bounds | {money(each["price"]) for each in of_it})]

    def _is_ours(self, client_order_id: str, order_id: str, possible: Iterable[Terms]) -> bool:
        """Whether an order is what this client order id would make of one of these terms; then it is known."""
        for terms in possible:
            if self._ids.of(client_order_id, terms) == order_id:
                self._terms.setdefault(order_id, terms)
                self.know([(client_order_id, order_id)])
                return True
        return False

    @property
    def _ids(self) -> Ids:
        if self._loaded is None:
            raise ExchangeUnavailable("the outcome is not loaded")
        return self._loaded

    def _placed_at(self, order_id: str) -> datetime | None:
        terms = self._terms.get(order_id)
        return None if terms is None else terms.at

    def _read_order(self, raw: Any) -> ExchangeOrder:
        if raw["asset_id"] != self._token:
            raise ValueError("an order for another outcome")
        self._terms[raw["id"]] = terms_of(raw)
        ours = self._client_ids.get(raw["id"], "")
        if ours and raw.get("order_type") == _AT_ONCE:
            self._at_once.add(raw["id"])
        return self._seen(order_of(raw, self._symbol, ours))

    def _seen(self, order: ExchangeOrder) -> ExchangeOrder:
        self._there.setdefault(order.exchange_order_id, time.monotonic())
        return super()._seen(order)

    def _asked_for(self, request: OrderRequest) -> tuple[str, str, dict[str, Any]]:
        if request.type is OrderType.STOP:
            raise OrderRefused(f"not sent: {self.name} has no stop orders")
        price, order_type, expiration = request.price, "GTC", 0
        if request.type is OrderType.MARKET:
            bound = next(each for each in _BOUNDS if not each % self._ids.outcome.tick)
            price = bound if request.side is Side.BUY else 1 - bound
        if request.type is OrderType.MARKET or request.time_in_force is TimeInForce.IOC:
            order_type = "FAK"
            if request.side is Side.BUY:
                order_type, expiration = _AT_ONCE, int((self._line.exchange_time() + _EXPIRES).timestamp())
        text = exact(price)
        if not 0 < money(text) < 1 or money(text) % FINEST or request.amount % STEP or request.amount <= 0:
            raise OrderRefused("not sent: a price is between 0 and 1, and shares go by hundredths")
        salt, at = free_fields(request.client_order_id)
        return (
            "limit",
            text,
            {
                "orderType": order_type,
                "salt": str(salt),
                "timestamp": str(at),
                "expiration": str(expiration),
                # ccxt rounds by it, and knows not every tick size that there is.
                "tickSize": str(FINEST),
                "negRisk": self._ids.outcome.neg_risk,
            },
        )

    async def _cancelled(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        known = await self._exchange_id(client_order_id, symbol)

        def read(raw: Any) -> None:
            told = raw["info"]
            if known not in told["canceled"]:
                raise NoSuchOrder(f"{self.name}: {told['not_canceled'][known]}")

        await self._keyed.ask(read, "cancel_order", known, self._token, acts=True)
        self._there[known] = float("-inf")  # it will not come to be told of any more
        return await self._as_it_stands(known)

    async def _open(self) -> list[Any]:
        """Rows of the account's open orders for the outcome."""
        return await self._keyed.pages("clobPrivateGetDataOrders", {"asset_id": self._token})

    async def _raw_trades(self, since: datetime | None) -> list[dict[str, Any]]:
        """What trades of the question filled of our orders for the outcome, as ccxt would write it."""
        outcome = self._ids.outcome
        # By the question and not by the outcome: a trade is listed under what its taker traded.
        query = {"market": outcome.condition}
        if since is not None:
            query["after"] = str(max(int(since.timestamp()) - 1, 0))
        rows = await self._keyed.pages("clobPrivateGetDataTrades", query)
        with legible():
            return [fill for raw in rows for fill in fills_of(raw, self._symbol, self._wallet, outcome)]

    async def _raw_trades_of(self, exchange_order_id: str) -> list[dict[str, Any]]:
        placed = self._placed_at(exchange_order_id)
        since = None if placed is None else placed - timedelta(minutes=1)
        return [each for each in await self._raw_trades(since) if each["order"] == exchange_order_id]

    async def _learn(self, unknown: set[str]) -> None:
        """Whose orders these are is not told anywhere: they are somebody else's, until one of ours is looked for."""
        for order_id in unknown:
            self._client_ids.setdefault(order_id, "")


def _conditional(token: str) -> dict[str, str]:
    return {"asset_type": "CONDITIONAL", "token_id": token}


def _anything(raw: Any) -> None:
    """An answer of which nothing is wanted but that it came."""


def _placed(request: OrderRequest, raw: Any) -> tuple[ExchangeOrder, bool]:
    """An order that was taken, and whether it is held back."""
    if not _ID.fullmatch(str(raw["id"])):
        raise ValueError("an order without its id")
    order = ExchangeOrder(
        *(request.client_order_id, str(raw["id"]), request.symbol, ExchangeStatus.OPEN, request.amount, Decimal(0))
    )
    return order, str(raw["info"].get("status")).lower() == "delayed"


def _last_price(raw: Any) -> Decimal | None:
    """Zero stands for an outcome that was never traded."""
    return money(raw["price"]) or None

"""Kraken's spot exchange: its limits, errors and names, and how its orders and trades are read.

Every signed request has a number that must be higher than the last one's, so they go one by one. Every new order has a
deadline, after which Kraken does not take it any more. A client order id is unique among open orders alone: the same
order sent again after it was filled is a second order.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from node_agent.core.market import Conduct, ExchangeOrder, IdForm, Market, OpenOrder, OrderRequest
from node_agent.exchanges.failures import NoSuchOrder
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.line import Line
from node_agent.exchanges.permissions import Query, Rules
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OutcomeUnknown
from node_agent.exchanges.profile import Credential, KeyCheck, Opening, Profile
from node_agent.exchanges.reading import market_of, milliseconds_of, open_order_of
from node_agent.exchanges.spot import SpotExchange, legible
from node_agent.exchanges.together import Together
from node_agent.exchanges.traits import Meaning, Pace, Traits

NAME: Final = "kraken"

T = TypeVar("T")

_KEY_FORM: Final = re.compile(r"[A-Za-z0-9+/]{56}", re.ASCII)
_SECRET_FORM: Final = re.compile(r"[A-Za-z0-9+/]{86}==", re.ASCII)

_DATES: Final = ("queryFrom", "queryTo")
_ENDS: Final = "validUntil"
_ADDRESSES: Final = "ipAllowlist"

_RULES: Final = Rules(
    forbidden=frozenset(("withdraw-funds", "add-withdraw-address", "update-withdraw-address", "earn-funds")),
    harmless=frozenset(
        (
            *("query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades"),
            *("query-ledger", "export-data"),
        )
    ),
    # Whoever may create orders may cancel them.
    needed=frozenset(("query-funds", "query-open-trades", "query-closed-trades", "modify-trades")),
    better_on={_ADDRESSES: "restrict the key to the address of this machine: it is good from everywhere as it is"},
    better_off={
        "add-funds": "switch off deposits: the node makes none",
        "create-ws-token": "switch off the WebSocket interface: the node opens none",
        **dict.fromkeys(_DATES, "take the dates off the key: with them the node may not see all of its orders"),
        _ENDS: "take the expiration off the key: when it is over, the node can not even cancel what is open",
    },
)

PROFILE: Final = Profile(
    name=NAME,
    title="Kraken",
    credentials=(
        Credential("key", "API key", _KEY_FORM, "56 characters", hidden=False),
        Credential("secret", "private key", _SECRET_FORM, "88 characters, the last two of them =="),
    ),
    key_check=KeyCheck.ASKED,
    switch_off="kraken.com, Settings, API, Edit",
    rules=_RULES,
    example_symbol="BTC/USD",
)

_PAGE: Final = 50
"""Orders or trades in one answer; the newest come first."""
_AT_ONCE: Final = 19
"""Orders or trades that are asked for by their ids. Kraken takes one more, but behind so many ccxt asks for none."""
_EACH: Final = {"consolidate_taker": "false"}
"""Each trade by itself: else Kraken puts a taker's together in its lists, and not where one is asked for by id."""
_SHORTEST: Final = 5.0
_LONGEST: Final = 50.0
"""Seconds to an order's deadline. Kraken wants 2 to 60, by its own clock, which it tells in whole seconds."""
_ABOUT_RIGHT: Final = 2000
"""Milliseconds by which our clock may seem to be off before numbers are made of Kraken's time."""
_CLOCK_ALLOWANCE: Final = timedelta(seconds=3)
"""How much later than we think a deadline may be: it is a whole second, and the clock was measured a while ago."""
_LISTS_LAG: Final = timedelta(seconds=60)
"""How far its lists of orders have been seen to be behind what its engine did. An order that was filled meanwhile is in
none of them, and its id may be used again."""

_LIMITS: Final = (
    # Kraken counts each question (two for trades), takes one off every three seconds, and answers up to fifteen: so it
    # is for the lowest tier, and it tells of no tier.
    Limit("calls", Counted.WEIGHT, 30, 46.0),
    # Of a counter that orders and early cancels share, and that loses one a second: sixty, of which half are orders.
    Limit("orders", Counted.ORDERS, 60, 60.0),
)

# It answers twenty questions a minute: six are for what is open while something of ours is, three for surveys, two for
# fills, one for candles and the clock. The rest is for orders that change. A question waits for two to be given back,
# and is answered before whoever asked counts it as lost.
_PACE: Final = Pace(
    orders_every=10.0,
    orders_every_fast=10.0,
    survey_every=20.0,
    fills_every=60.0,
    orders_at_once=_AT_ONCE,
    patience=7.0,
)

_REFUSED: Final = (
    "EAccount:Invalid permissions",
    "EBM:limit exceeded",
    "EGeneral:Invalid arguments",
    "EGeneral:Unknown method",
    "EOrder:Cannot open opposing position",
    "EOrder:Cannot open position",
    "EOrder:Insufficient funds",
    "EOrder:Insufficient margin",
    "EOrder:Invalid price",
    "EOrder:Margin allowance exceeded",
    "EOrder:Margin level too low",
    "EOrder:Margin position size exceeded",
    "EOrder:Orders limit exceeded",
    "EOrder:Positions limit exceeded",
    "EOrder:Post only order",
    "EOrder:Reduce only",
    "EOrder:Scheduled orders limit exceeded",
    "EOrder:Tick size check failed",
    "EOrder:Trading agreement required",
    "EOrder:Unknown position",
    "EQuery:Invalid asset pair",
    "EQuery:Unknown asset",
    "EQuery:Unknown asset pair",
    "EService:Market in cancel_only mode",
    "EService:Market in limit_only mode",
    "EService:Market in post_only mode",
    "ETrade:Invalid request",
)

_MEANINGS: Final = {
    **dict.fromkeys(_REFUSED, Meaning.REFUSED),
    **dict.fromkeys(
        (
            *("EOrder:Cost minimum not met", "EOrder:Order minimum not met"),
            "EGeneral:Invalid arguments:volume minimum not met",
        ),
        Meaning.TOO_SMALL,
    ),
    "EGeneral:Invalid arguments:cl_ord_id not unique": Meaning.DUPLICATE,
    # The one of an id that never was, the other of an order that has ended.
    **dict.fromkeys(("EOrder:Invalid order", "EOrder:Unknown order"), Meaning.NO_SUCH_ORDER),
    **dict.fromkeys(("EAPI:Invalid nonce", "EGeneral:Invalid arguments:deadline"), Meaning.CLOCK),
    **dict.fromkeys(
        (
            *("EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied", "ESession:Invalid session"),
            *("EAuth:Account temporary disabled", "EAuth:Account unconfirmed", "ETrade:User Locked"),
        ),
        Meaning.KEY,
    ),
    **dict.fromkeys(
        (
            *("EAuth:Rate limit exceeded", "EAuth:Too many requests"),
            *("EGeneral:Too many requests", "EGeneral:Temporary lockout", "EService:Throttled"),
        ),
        Meaning.TOO_MANY,
    ),
    # Orders and cancels are not calls: they have a counter of their own.
    "EAPI:Rate limit exceeded": Meaning.TOO_MANY_CALLS,
    **dict.fromkeys(("EOrder:Rate limit exceeded", "EOrder:Domain rate limit exceeded"), Meaning.TOO_MANY_ORDERS),
}
"""By name, without what Kraken adds to it. "EService:Deadline elapsed" is not here: who waited for the engine says it,
and not the engine."""

_LOCKOUT: Final = "EGeneral:Temporary lockout"
_LOCKOUT_LASTS: Final = 900.0
"""Seconds, after many requests with a wrong key; whoever asks meanwhile may be locked out anew."""

_NATIVE: Final = {
    "BTC": "XBT",
    "DOGE": "XDG",
    "KFEE": "FEE",
    "LUNA": "LUNA2",
    "LUNC": "LUNA",
    "REP": "REPV2",
    "REPV1": "REP",
    "USTC": "UST",
}
"""What Kraken calls currencies that others call otherwise."""

_EARNING: Final = ".F"
"""Behind the name of a currency: what of it earns by itself. An order takes from it as from the rest."""


def kraken_traits(recv_window: float) -> Traits:
    """Kraken as data."""
    return Traits(
        name=NAME,
        conduct=Conduct(
            id_form=IdForm.UUID,
            settles_within=timedelta(seconds=_good_for(recv_window)) + _CLOCK_ALLOWANCE + _LISTS_LAG,
            ids_unique_for_ever=False,
        ),
        limits=_LIMITS,
        weight_per_cost=1 / 3,
        error_of=_error_of,
        meanings=_MEANINGS,
        duplicate_messages=frozenset(),
        new_id="cl_ord_id",
        known_id=None,
        cancelled_id="cl_ord_id",
        stop="stopLossPrice",
        permissions=Query("private_post_getapikeyinfo", _permissions, _RULES),
        acting=lambda _method, path: path in {"AddOrder", "CancelOrder"},
        orders=lambda _method, path: path == "AddOrder",
        in_turn=lambda api: "private" in api,
        acknowledges=True,
        pauses={_LOCKOUT: _LOCKOUT_LASTS},
        markets_of=_market_of,
        page=720,
        pace=_PACE,
    )


def _good_for(recv_window: float) -> float:
    return min(max(recv_window, _SHORTEST), _LONGEST)


def _market_of(symbol: str) -> Mapping[str, str]:
    return {"pair": "".join(_NATIVE.get(part, part) for part in symbol.split("/"))}


def _error_of(status: int, body: Any) -> tuple[str, str] | None:
    """Of several the one that says least."""
    if not isinstance(body, dict) or not isinstance(body.get("error"), list):
        return None if body is None and status < 400 else ("", "an answer that is none")
    told = [_named(str(each)) for each in body["error"] if not str(each).startswith("W")]
    if told:
        return next((each for each in told if each[0] not in _MEANINGS), told[0])
    return None if status < 400 and "result" in body else ("", "an answer without a result")


def _named(error: str) -> tuple[str, str]:
    """The name that is known of an error, and what is added to it; all of it, of one that is not known."""
    parts = [part.strip() for part in error.split(":")]
    for end in range(len(parts), 1, -1):
        name, added = ":".join(parts[:end]), ":".join(parts[end:])
        if name == "EService:Throttled":
            return name, f"until {added}000"
        if name in _MEANINGS:
            return name, added
    return error, ""


def _permissions(body: Any) -> Mapping[str, bool]:
    """What GetApiKeyInfo tells: names of what the key may do, and what restricts it."""
    told = body["result"]
    names = told["permissions"]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError("permissions that are none")
    # Each is a time in seconds, or "0" for none.
    restricted = {name: str(_member(told, name)) not in {"0", "", "None"} for name in (*_DATES, _ENDS)}
    return {_ADDRESSES: any(_member(told, _ADDRESSES) or ()), **restricted, **dict.fromkeys(names, True)}


def _member(told: Mapping[str, Any], name: str) -> Any:
    """Kraken's documents write `validUntil`; another client is tested with an answer that has `valid_until`."""
    return told.get(name, told.get(re.sub("([A-Z])", r"_\1", name).lower()))


def open_exchange(opening: Opening) -> Kraken:
    """One account on Kraken, for one symbol."""
    from node_agent.exchanges.through_ccxt import connect  # noqa: PLC0415  (a profile needs none of it)

    traits = kraken_traits(opening.recv_window)
    line = connect(traits, opening)
    _number(line)
    return Kraken(line, traits, opening)


def _number(line: Line) -> None:
    """Number signed requests by our time in microseconds: from there another process here goes on.

    As long as that is about right, that is: of Kraken's, which it tells in whole seconds, whoever comes later may
    measure an earlier one.
    """

    def nonce() -> int:
        ahead: int = line.client.options["timeDifference"]
        return time.time_ns() // 1000 - (ahead * 1000 if abs(ahead) > _ABOUT_RIGHT else 0)

    line.client.nonce = nonce


class Kraken(SpotExchange):
    """Orders are found by our ids in its lists, which it narrows down to them; trades by the ids that orders name."""

    def __init__(self, line: Line, traits: Traits, opening: Opening) -> None:
        super().__init__(line, traits, symbol=opening.symbol, interval=opening.interval)
        self._good_for = timedelta(seconds=_good_for(opening.recv_window))
        # Thirty orders that end together would use up what it answers in a minute.
        self._together = Together(self._known_orders, most=_AT_ONCE)

    async def balances(self) -> Mapping[str, Decimal]:
        """Total of each currency, with what of it earns by itself; those of which there is nothing are left out."""
        totals: dict[str, Decimal] = {}
        for currency, amount in (await super().balances()).items():
            name = currency.removesuffix(_EARNING)
            totals[name] = totals.get(name, Decimal(0)) + amount
        return totals

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All open orders of the account on the symbol, whoever placed them."""
        await self._be_ready()

        def read(raw: Any) -> list[OpenOrder]:
            orders = [open_order_of(_told(each), self._traits.statuses) for each in raw]
            return [replace(each, order=self._seen(each.order)) for each in orders]

        return await self._line.ask(read, "fetch_open_orders", self._symbol)

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders of the account on the symbol that were placed since: the open ones, and page by page the others."""
        await self._be_ready()
        from_ = _whole_seconds(since)

        def read(raw: Any) -> list[ExchangeOrder]:
            ours = (each for each in raw if each["symbol"] == self._symbol and each["timestamp"] >= from_)
            return [self._read_order(each) for each in ours]

        pages = [await self._line.ask(read, "fetch_open_orders")]
        pages += await self._pages(read, "fetch_closed_orders", from_, {"closetime": "open"})
        # One that ended while we read is in both, and one that moved from page to page is in two.
        return list({order.exchange_order_id: order for page in pages for order in page}.values())

    async def order(self, exchange_order_id: str) -> ExchangeOrder:
        """An order by Kraken's id of it. Raises NoSuchOrder."""
        raw = await self._raw_order(exchange_order_id)
        with legible():
            return self._read_order(raw)

    async def orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, ExchangeOrder]:
        """Those of these orders that Kraken has."""
        raws = await self._known_orders(exchange_order_ids)
        with legible():
            return {exchange_order_id: self._read_order(raw) for exchange_order_id, raw in raws.items()}

    async def _load(self) -> None:
        def read(raw: Any) -> Mapping[str, Market]:
            # ccxt takes the number of decimals for the tick, which may be more of them than prices may have.
            return {
                symbol: replace(market_of(each), tick_size=Decimal(each["info"]["tick_size"]))
                for symbol, each in raw.items()
                if symbol == self._symbol
            }

        markets = await self._line.ask(read, "load_markets", True, self._traits.markets_of(self._symbol))
        if not markets:
            raise ExchangeUnavailable(f"{self.name} has no market {self._symbol}")
        self._markets = markets

    def _read_order(self, raw: Any) -> ExchangeOrder:
        return super()._read_order(_told(raw))

    def _asked_for(self, request: OrderRequest) -> tuple[str, str | None, dict[str, Any]]:
        kind, price, parameters = super()._asked_for(request)
        # A deadline is a whole second: the next one.
        deadline = self._line.exchange_time() + self._good_for + timedelta(seconds=1)
        parameters["deadline"] = deadline.strftime("%Y-%m-%dT%H:%M:%SZ")
        # Whatever a fee is taken in, trades tell it in the quote currency: so it is to be taken in that.
        parameters["oflags"] = "fciq"
        return kind, price, parameters

    async def _cancelled(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        def read(raw: Any) -> None:
            if int(raw["info"]["result"]["count"]) == 0:
                raise NoSuchOrder(f"{self.name} has no open order {client_order_id}")

        parameters = {"cl_ord_id": self._written(client_order_id)}
        await self._line.ask(read, "cancel_order", None, symbol, parameters, acts=True)
        try:
            found = await self.find_order(client_order_id, symbol)
        except ExchangeError as error:
            raise OutcomeUnknown(f"it was cancelled, but could not be read: {error}") from None
        if found is None:
            raise OutcomeUnknown("it was cancelled, but is not found")
        return found

    async def _listed(self, client_order_id: str) -> ExchangeOrder | None:
        def read(raw: Any) -> list[ExchangeOrder]:
            return [self._read_order(each) for each in raw]

        parameters = {"cl_ord_id": self._written(client_order_id)}
        # Open ones first: whichever ends in between is among the others by then.
        for method in ("fetch_open_orders", "fetch_closed_orders"):
            orders = await self._line.ask(read, method, self._symbol, None, None, parameters)
            for order in orders:
                if order.client_order_id == client_order_id:
                    return order
        return None

    async def _raw_order(self, exchange_order_id: str) -> Any:
        raw = await self._together.one(exchange_order_id)
        if raw is None:
            raise NoSuchOrder(f"{self.name} has no order {exchange_order_id}")
        return raw

    async def _known_orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, Any]:
        """Those of these orders that there are: one that there is not spoils the question for the others."""
        try:
            return await self._raw_orders(exchange_order_ids)
        except NoSuchOrder:
            if len(exchange_order_ids) == 1:
                return {}
        half = len(exchange_order_ids) // 2
        first = await self._known_orders(exchange_order_ids[:half])
        return {**first, **await self._known_orders(exchange_order_ids[half:])}

    async def _raw_orders(self, exchange_order_ids: Sequence[str]) -> Mapping[str, Any]:
        def read(raw: Any) -> Mapping[str, Any]:
            return {each["id"]: each for each in raw}

        # ccxt would write "True".
        asked = (list(exchange_order_ids), self._symbol, {"trades": "true", **_EACH})
        return await self._line.ask(read, "fetch_orders_by_ids", *asked)

    async def _raw_trades(self, since: datetime | None) -> Sequence[Any]:
        pages = await self._pages(list, "fetch_my_trades", None if since is None else _whole_seconds(since), _EACH)
        with legible():
            # One that moved from page to page while we read is in both.
            return list({raw["id"]: raw for page in pages for raw in page if raw["symbol"] == self._symbol}.values())

    async def _raw_trades_of(self, exchange_order_id: str) -> Sequence[Any]:
        raw = await self._raw_order(exchange_order_id)
        with legible():
            ids = [str(each["id"]) for each in raw["trades"]]
        trades: list[Any] = []
        for some in _batches(ids):
            asked = (exchange_order_id, self._symbol, None, None, {"trades": some})
            trades += await self._line.ask(list, "fetch_order_trades", *asked)
        return trades

    async def _learn(self, unknown: set[str]) -> None:
        for some in _batches(sorted(unknown)):
            await self.orders(some)

    async def _pages(
        self, read: Callable[[Any], list[T]], method: str, since: int | None, parameters: Mapping[str, Any]
    ) -> list[list[T]]:
        """What `read` makes of every page of a list, the newest first.

        Of all symbols and from a whole second on: ccxt drops what else there is, and a page would look like the last.
        """
        pages: list[list[T]] = []
        full = True

        def reads(raw: Any) -> list[T]:
            nonlocal full
            full = len(raw) >= _PAGE
            return read(raw)

        while full:
            at = {"ofs": _PAGE * len(pages)} if pages else {}
            pages.append(await self._line.ask(reads, method, None, since, None, {**parameters, **at}))
        return pages


def _told(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """An order of ccxt's with its client order id alone, not a reference in its place; and with the price of a stop."""
    trigger = raw["triggerPrice"] or raw["stopLossPrice"] or raw["takeProfitPrice"]
    return {**raw, "clientOrderId": raw["info"].get("cl_ord_id"), "triggerPrice": trigger}


def _whole_seconds(at: datetime) -> int:
    """The second before a time, as ccxt takes it: Kraken tells of what came after it, and that alone."""
    return (milliseconds_of(at) // 1000 - 1) * 1000


def _batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)]

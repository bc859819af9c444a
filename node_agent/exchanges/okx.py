"""OKX's spot exchange: its limits, error codes and names, and how its lists are read back page by page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from node_agent.core.market import Conduct, ExchangeOrder, OpenOrder, OrderRequest, OrderType
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.permissions import Query, Rules
from node_agent.exchanges.profile import Credential, KeyCheck, Opening, Profile
from node_agent.exchanges.reading import milliseconds_of, open_order_of
from node_agent.exchanges.spot import SpotExchange, legible
from node_agent.exchanges.traits import Meaning, Traits

NAME: Final = "okx"

_PERMISSIONS: Final = re.compile(r"[a-z_]+(?:,[a-z_]+)*", re.ASCII)
_BOUND: Final = "bound to an address"
"""Ours, in words that no permission of theirs is written in."""
_IN_CASH: Final = "orders paid in cash"
"""The same, of the account's mode."""
_LOANS: Final = ("autoLoan", "enableSpotBorrow")
"""Settings of the account with which an order may buy for money that is not there."""

_RULES: Final = Rules(
    forbidden=frozenset(("withdraw",)),
    harmless=frozenset(("read_only", "trade")),
    needed=frozenset(("trade",)),
    better_on={
        _BOUND: "bind the key to the address of this machine: it is good from everywhere as it is",
        _IN_CASH: "set the account to Spot mode: as it is, it takes no orders paid in cash, and no others are sent",
    },
    better_off=dict.fromkeys(_LOANS, "switch off borrowing in the account: an order may else spend what is not there"),
)

PROFILE: Final = Profile(
    name=NAME,
    title="OKX",
    credentials=(
        Credential(
            "key",
            "API key",
            re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII),
            "32 hex digits with hyphens, made on www.okx.com; OKX Europe's (my.okx.com) and US keys do not work",
            hidden=False,
        ),
        Credential("secret", "secret key", re.compile(r"[0-9A-Za-z_-]{32,64}", re.ASCII), "32 letters and digits"),
        Credential(
            "passphrase", "passphrase", re.compile(r"[!-~]{1,64}", re.ASCII), "the one that you chose: no spaces"
        ),
    ),
    key_check=KeyCheck.ASKED,
    switch_off="okx.com, your profile, API and connections, Edit",
    rules=_RULES,
    example_symbol="BTC/USDT",
    order_types=("market", "limit"),
)

_STRAYS: Final = timedelta(seconds=30)
"""A request whose stamp is further from OKX's time than this is refused, on either side. So one that was stamped as far
ahead of it as that, by a clock that was set since it was last measured, can arrive for twice as long."""
_QUEUED: Final = timedelta(seconds=5)
"""How long one that was let in may wait inside."""
_RECENT: Final = timedelta(days=3) - timedelta(hours=1)
"""How far back its list of recent fills goes; the list of all is late with those."""
_LATE: Final = timedelta(minutes=1)
"""How far ahead an order may be stamped of the time that we take for the exchange's."""

_LIMITS: Final = (
    # Each endpoint has a limit of its own, which ccxt's costs are shares of: together within one, each is within its.
    Limit("shares_2s", Counted.WEIGHT, 20, 2.0),
    Limit("orders_2s", Counted.ORDERS, 60, 2.0),
)

_REFUSED: Final = (
    *("50014", "50015", "50016", "50024", "50122"),
    *("51000", "51001", "51002", "51003", "51005", "51006", "51008", "51010", "51012", "51015", "51021"),
    *("51022", "51025", "51031", "51033", "51087", "51102", "51110", "51116", "51119", "51120", "51121", "51122"),
    *("51124", "51127", "51131", "51137", "51138", "51150", "51155", "51174", "51185", "51201", "51202", "51203"),
    *("51204", "51507"),
)
_KEY: Final = (
    *("50030", "50035", "50100", "50101", "50103", "50104", "50105", "50106", "50110", "50111", "50113", "50114"),
    *("50119", "50120", "50121"),
)

_MEANINGS: Final = {
    **dict.fromkeys(_REFUSED, Meaning.REFUSED),
    "51020": Meaning.TOO_SMALL,
    **dict.fromkeys(("50071", "51016"), Meaning.DUPLICATE),
    **dict.fromkeys(("51400", "51401", "51402", "51603"), Meaning.NO_SUCH_ORDER),
    **dict.fromkeys(_KEY, Meaning.KEY),
    **dict.fromkeys(("50011", "50040"), Meaning.TOO_MANY),
    "50061": Meaning.TOO_MANY_ORDERS,
    **dict.fromkeys(("50102", "50112"), Meaning.CLOCK),
}

_OPTIONS: Final = {
    "adjustForTimeDifference": False,
    "brokerId": "",  # else an order without an id of ours would carry ccxt's tag
    # ccxt would send a list of one order, of which OKX may carry out a part.
    "createOrder": "privatePostTradeOrder",
    "defaultType": "spot",
    "fetchMarkets": {"types": ["spot"]},
    "tgtCcy": "base_ccy",
}


def okx_traits() -> Traits:
    """OKX as data."""
    return Traits(
        name=NAME,
        conduct=Conduct(
            settles_within=2 * _STRAYS + _QUEUED,
            ids_unique_for_ever=False,
            order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
        ),
        limits=_LIMITS,
        weight_per_cost=1,
        error_of=_error_of,
        meanings=_MEANINGS,
        duplicate_messages=frozenset(),
        new_id="clOrdId",
        known_id="clOrdId",
        cancelled_id=None,  # it would go by ours too, but the answer tells nothing of the order
        stop="stopLossPrice",
        credentials={"key": "apiKey", "secret": "secret", "passphrase": "password"},
        permissions=Query("privateGetAccountConfig", _permissions, _RULES),
        orders=lambda method, path: (method, path) == ("POST", "trade/order"),
        acknowledges=True,
        options=_OPTIONS,
        markets_of=lambda symbol: {"instId": symbol.replace("/", "-")},
        page=100,
    )


def _error_of(status: int, body: Any) -> tuple[str, str] | None:
    """An order's own code goes before the answer's, which says no more than that something went wrong."""
    if not isinstance(body, dict) or "code" not in body:
        return "", ""
    told = [each for each in body.get("data") or () if isinstance(each, dict) and each.get("sCode", "0") != "0"]
    if told:
        return str(told[0]["sCode"]).partition("_")[0], str(told[0].get("sMsg", ""))
    return None if body["code"] == "0" and status < 400 else (str(body["code"]), str(body.get("msg", "")))


def _permissions(body: Any) -> Mapping[str, bool]:
    """What the account's configuration tells of the key that asks for it."""
    (told,) = body["data"]
    if not _PERMISSIONS.fullmatch(told["perm"]):
        raise ValueError("permissions that are none")
    loans = {name: str(told.get(name)).lower() == "true" for name in _LOANS}
    modes = {_BOUND: bool(told.get("ip")), _IN_CASH: told.get("acctLv") in {"1", "2"}}
    return {**dict.fromkeys(told["perm"].split(","), True), **modes, **loans}


def open_exchange(opening: Opening) -> Okx:
    """One account on OKX, for one symbol."""
    from node_agent.exchanges.through_ccxt import connect  # noqa: PLC0415  (a profile needs none of it)

    traits = okx_traits()
    return Okx(connect(traits, opening), traits, symbol=opening.symbol, interval=opening.interval)


class Okx(SpotExchange):
    """Its lists begin with the newest and end after a page: what is older is asked for by the last one's id."""

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All open orders of the account on the symbol, whoever placed them."""
        await self._be_ready()
        raws = await self._orders("fetch_open_orders", {})
        with legible():
            orders = [open_order_of(_sized(each), self._traits.statuses) for each in raws]
            return [replace(each, order=self._seen(each.order)) for each in orders]

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders on the symbol that were placed since: open ones, and those that ended within a week."""
        await self._be_ready()
        begin = milliseconds_of(since)
        # Both ends, for with the first alone a page is of the oldest.
        span = {"begin": begin, "until": milliseconds_of(self._line.exchange_time() + _LATE)}
        raws = await self._orders("fetch_open_orders", {})
        for ended in ("fetch_closed_orders", "fetch_canceled_orders"):
            raws += await self._orders(ended, span)
        with legible():
            last = {each["id"]: each for each in raws if each["timestamp"] >= begin}
            return [self._read_order(each) for each in last.values()]

    def _asked_for(self, request: OrderRequest) -> tuple[str, str | None, dict[str, Any]]:
        """As for any exchange; but a market order that cannot be paid is refused, and not made smaller."""
        kind, price, parameters = super()._asked_for(request)
        return kind, price, parameters | ({"banAmend": True} if kind == "market" else {})

    def _read_order(self, raw: Any) -> ExchangeOrder:
        return super()._read_order(_sized(raw))

    async def _raw_trades(self, since: datetime | None) -> Sequence[Any]:
        """The list of recent fills, and for earlier ones that of all beside it."""
        if since is not None and since > self._line.exchange_time() - _RECENT:
            return await self._fills(("privateGetTradeFills",), {"begin": milliseconds_of(since)})
        span = {} if since is None else {"begin": milliseconds_of(since)}
        return await self._fills(("privateGetTradeFills", "privateGetTradeFillsHistory"), span)

    async def _raw_trades_of(self, exchange_order_id: str) -> Sequence[Any]:
        lists = ("privateGetTradeFills", "privateGetTradeFillsHistory")
        return await self._fills(lists, {"ordId": exchange_order_id})

    async def _fills(self, lists: Iterable[str], asked: Mapping[str, Any]) -> Sequence[Any]:
        rows: dict[str, Any] = {}
        wanted = {"instType": "SPOT", "limit": self._traits.page, **self._traits.markets_of(self._symbol), **asked}
        for method in lists:
            older: Mapping[str, str] | None = {}
            while older is not None:
                page = await self._line.ask(lambda raw: list(raw["data"]), method, {**wanted, **older})
                with legible():
                    rows |= {each["billId"]: each for each in page}
                    older = self._older(page, "billId", older)
        with legible():
            return [self._trade(each) for each in rows.values()]

    async def _orders(self, method: str, asked: Mapping[str, Any]) -> list[Any]:
        raws: list[Any] = []
        older: Mapping[str, str] | None = {}
        while older is not None:
            parameters = {**asked, **older}
            page = await self._line.ask(list, method, self._symbol, None, self._traits.page, parameters)
            raws += page
            with legible():
                older = self._older(page, "id", older)
        return raws

    def _older(self, page: Sequence[Any], id_name: str, before: Mapping[str, str]) -> Mapping[str, str] | None:
        """What the next page is asked for with; None after the last."""
        if len(page) < self._traits.page:
            return None
        after = {"after": str(min(int(each[id_name]) for each in page))}
        return after if after != before else None

    def _trade(self, row: Mapping[str, str]) -> Mapping[str, Any]:
        """A fill as ccxt would have read it. It names our id of its order, which ccxt leaves out."""
        self._client_ids[row["ordId"]] = row["clOrdId"] or ""
        return {
            "id": row["tradeId"],
            "order": row["ordId"],
            "timestamp": int(row["ts"]),
            "symbol": self._symbol,
            "side": row["side"],
            "price": row["fillPx"],
            "amount": row["fillSz"],
            "fee": {"cost": str(-Decimal(row["fee"])), "currency": row["feeCcy"] or None},
            "takerOrMaker": "maker" if row["execType"] == "M" else "taker",
        }


def _sized(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """An owner may order for so much money: what it comes to is not known, but that it is no less than was filled."""
    return raw if raw["amount"] is not None else {**raw, "amount": raw["filled"]}

"""Binance's spot exchange: its limits, error codes and names, and how its trades are read page by page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from node_agent.core.market import Conduct, ExchangeStatus
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.permissions import Query, Rules
from node_agent.exchanges.profile import Credential, KeyCheck, Opening, Profile
from node_agent.exchanges.reading import milliseconds_of
from node_agent.exchanges.spot import SpotExchange, legible
from node_agent.exchanges.traits import Meaning, Traits

NAME: Final = "binance"

_KEY_FORM: Final = re.compile(r"[A-Za-z0-9]{64}", re.ASCII)

_TIMES: Final = frozenset(("createTime", "tradingAuthorityExpirationTime"))
"""What apiRestrictions tells beside permissions."""

_RULES: Final = Rules(
    forbidden=frozenset(("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer")),
    harmless=frozenset(("enableReading", "enableSpotAndMarginTrading", "enableFixApiTrade", "enableFixReadOnly")),
    needed=frozenset(("enableReading", "enableSpotAndMarginTrading")),
    better_on={
        "ipRestrict": "restrict the key to the address of this machine: it is good from everywhere as it is, and"
        " Binance takes the permission to trade from such a key after some weeks"
    },
    better_off=dict.fromkeys(
        ("enableMargin", "enableFutures", "enableVanillaOptions", "enablePortfolioMarginTrading"),
        "switch off what is not spot trading: the node asks for none of it",
    ),
)

PROFILE: Final = Profile(
    name=NAME,
    title="Binance",
    credentials=(
        Credential("key", "API key", _KEY_FORM, "64 letters and digits", hidden=False),
        Credential("secret", "secret key", _KEY_FORM, "64 letters and digits"),
    ),
    key_check=KeyCheck.ASKED,
    switch_off="binance.com, API Management, Edit restrictions",
    rules=_RULES,
    example_symbol="BTC/USDT",
)

_ONE_BY_ONE: Final = 5
"""Up to so many unknown orders are asked for by their ids; more are listed."""
_CLOCK_ALLOWANCE: Final = timedelta(seconds=1)
"""A request may be stamped this far ahead of the exchange's time, and is good for so much longer."""

_LIMITS: Final = (
    Limit("weight_1m", Counted.WEIGHT, 6000, 60.0, "x-mbx-used-weight-1m"),
    Limit("orders_10s", Counted.ORDERS, 100, 10.0, "x-mbx-order-count-10s"),
    Limit("orders_1d", Counted.ORDERS, 200_000, 86_400.0, "x-mbx-order-count-1d"),
)

_REFUSED: Final = (
    *(1013, 1014, 1020, 1100, 1101, 1102, 1103, 1104, 1105, 1106, 1108, 1111, 1112, 1114, 1115, 1116, 1117, 1118, 1119),
    *(1120, 1121, 1127, 1128, 1130, 1131, 1134, 1135, 1145, 1151, 2010, 2016),
)

_MEANINGS: Final = {
    **dict.fromkeys((f"-{code}" for code in _REFUSED), Meaning.REFUSED),
    **dict.fromkeys(("-2011", "-2013"), Meaning.NO_SUCH_ORDER),
    **dict.fromkeys(("-1002", "-1022", "-2008", "-2014", "-2015"), Meaning.KEY),
    "-1003": Meaning.TOO_MANY,
    "-1015": Meaning.TOO_MANY_ORDERS,
    "-1021": Meaning.CLOCK,
}

_OPTIONS: Final = {
    "adjustForTimeDifference": False,
    "defaultType": "spot",
    "fetchMargins": False,
    "fetchMarkets": {"types": ["spot"]},
    # RESULT tells status and what was filled, of every type of order; FULL would bring trades that are read anyway.
    "newOrderRespType": {"limit": "RESULT", "market": "RESULT"},
}


def binance_traits(recv_window: float) -> Traits:
    """Binance as data."""
    return Traits(
        name=NAME,
        # A request that is older than its window is refused, so one that was lost can take no effect later.
        conduct=Conduct(
            settles_within=timedelta(seconds=recv_window) + _CLOCK_ALLOWANCE,
            ids_unique_for_ever=False,
        ),
        limits=_LIMITS,
        weight_per_cost=5,
        error_of=_error_of,
        meanings=_MEANINGS,
        duplicate_messages=frozenset(("Duplicate order sent.",)),
        new_id="newClientOrderId",
        known_id="origClientOrderId",
        cancelled_id="origClientOrderId",
        stop="stopLossPrice",
        permissions=Query("sapiGetAccountApiRestrictions", _permissions, _RULES),
        statuses={"PENDING_NEW": ExchangeStatus.OPEN},
        options={**_OPTIONS, "recvWindow": int(recv_window * 1000)},
        markets_of=lambda symbol: {"symbol": symbol.replace("/", "")},
        balances={"omitZeroBalances": "true"},
    )


def _error_of(status: int, body: Any) -> tuple[str, str] | None:
    if not isinstance(body, dict) or "code" not in body:
        return None if status < 400 else ("", "")
    return str(body["code"]), str(body.get("msg", ""))


def _permissions(body: Any) -> Mapping[str, bool]:
    """What apiRestrictions tells; beside flags it has times alone. What is not told of may be on."""
    told = {name: value for name, value in body.items() if name not in _TIMES}
    if not told.keys() >= _RULES.forbidden or not all(isinstance(value, bool) for value in told.values()):
        raise ValueError("permissions that are none")
    return told


def open_exchange(opening: Opening) -> Binance:
    """One account on Binance, for one symbol."""
    from node_agent.exchanges.through_ccxt import connect  # noqa: PLC0415  (a profile needs none of it)

    traits = binance_traits(opening.recv_window)
    return Binance(connect(traits, opening), traits, symbol=opening.symbol, interval=opening.interval)


class Binance(SpotExchange):
    """Trades are asked for by their numbers: by time, a moment with more than a page of them could not be passed."""

    async def _raw_trades(self, since: datetime | None) -> Sequence[Any]:
        """Span by span until there is one, and from there by their ids."""
        if since is None:
            return await self._numbered(0)
        now = await self.exchange_now()
        while True:
            until = since + self._traits.trades_span
            ended = until > now
            span = {} if ended else {"until": milliseconds_of(until) - 1}
            page = await self._page(milliseconds_of(since), span)
            if page and (len(page) == self._traits.page or not ended):
                return page + await self._numbered(_last_id(page) + 1)
            if ended:
                return page
            since = until

    async def _numbered(self, first_id: int) -> list[Any]:
        trades: list[Any] = []
        while True:
            page = await self._page(None, {"fromId": first_id})
            trades += page
            if len(page) < self._traits.page:
                return trades
            first_id = _last_id(page) + 1

    async def _page(self, since: int | None, parameters: Mapping[str, Any]) -> list[Any]:
        trades: list[Any] = await self._line.ask(
            list, "fetch_my_trades", self._symbol, since, self._traits.page, dict(parameters)
        )
        return trades

    async def _learn(self, unknown: set[str]) -> None:
        """Few are asked for by their ids; more are listed."""
        missing = sorted(unknown, key=int)
        while len(missing) > _ONE_BY_ONE:
            before = len(missing)
            await self._line.ask(
                lambda raw: [self._read_order(each) for each in raw],
                "fetch_orders",
                self._symbol,
                None,
                self._traits.page,
                {"orderId": missing[0]},
            )
            missing = [each for each in missing if each not in self._client_ids]
            if len(missing) == before:
                break
        for order_id in missing:
            await self.order(order_id)


def _last_id(page: Sequence[Any]) -> int:
    with legible():
        return max(int(raw["id"]) for raw in page)

"""Binance's spot exchange as data: its limits, error codes and names."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from node_agent.core.market import Conduct, ExchangeStatus
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.traits import Meaning, Traits

NAME: Final = "binance"

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
        stop="stopLossPrice",
        statuses={"PENDING_NEW": ExchangeStatus.OPEN},
        options=_OPTIONS,
        markets_of=lambda symbol: {"symbol": symbol.replace("/", "")},
        balances={"omitZeroBalances": "true"},
    )


def _error_of(status: int, body: Any) -> tuple[str, str] | None:
    if not isinstance(body, dict) or "code" not in body:
        return None if status < 400 else ("", "")
    return str(body["code"]), str(body.get("msg", ""))

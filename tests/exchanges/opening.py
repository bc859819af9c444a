"""Ours, connected to the process; and orders for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from node_agent.exchanges.binance import Binance, binance_traits
from node_agent.exchanges.profile import Opening
from node_agent.exchanges.spot import SpotExchange
from node_agent.exchanges.through_ccxt import connect
from tests.binance.case import CASE
from tests.binance.process import BinanceProcess

SYMBOL = CASE.symbol
an_order, at_market = CASE.order, CASE.at_market


def an_opening(
    url: str | None, *, key: str = "k" * 64, secret: str = "s" * 64, interval: timedelta = timedelta(minutes=1)
) -> Opening:
    """With what an account is opened, of which all but the address is made up."""
    parts = {"key": SecretStr(key), "secret": SecretStr(secret)}
    return Opening(parts, SYMBOL, interval, url=url)


def opened(
    binance: BinanceProcess,
    *,
    secret: str | None = None,
    url: str | None = None,
    symbol: str = SYMBOL,
    interval: timedelta = timedelta(seconds=1),
    banned_until: datetime | None = None,
    **changes: Any,
) -> SpotExchange:
    """An account of ours on the process, with traits changed by name."""
    traits = replace(binance_traits(5.0), **changes)
    parts = {"key": SecretStr(binance.key), "secret": SecretStr(secret or binance.secret)}
    opening = Opening(parts, symbol, interval, url=url or binance.url, banned_until=banned_until)
    return Binance(connect(traits, opening), traits, symbol=symbol, interval=interval)

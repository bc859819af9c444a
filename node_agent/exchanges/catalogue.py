"""The exchanges that a node can trade on: their profiles by name, and how an account on one is opened.

An exchange is a module beside this one with a `PROFILE` and an `open_exchange`, and a file in `allowlists/`. It is
imported when it is asked for: none of them needs ccxt for its profile.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from node_agent.exchanges.port import RealExchange
from node_agent.exchanges.profile import Opening, Profile

EXCHANGES: Final = ("binance", "coinbase", "cryptocom", "kraken", "okx", "polymarket", "robinhood")
"""Their ids."""


def profile_of(name: str) -> Profile:
    """What an owner is told of an exchange. Raises KeyError for one that there is none of."""
    if name not in EXCHANGES:
        raise KeyError(name)
    profile: Profile = import_module(f"node_agent.exchanges.{name}").PROFILE
    return profile


def open_exchange(name: str, opening: Opening) -> RealExchange:
    """One account. Nothing is asked of the exchange yet. Must be called inside a running event loop.

    Raises ValueError for a stand-in that is not on this machine, or an interval that it has no candles of.
    """
    exchange: RealExchange = import_module(f"node_agent.exchanges.{name}").open_exchange(opening)
    return exchange

"""The one door to ccxt: loads one exchange of it, and sets it up so that only what we want goes out.

The package would import all of its hundred exchanges, which takes as long as all the rest of a node's start. So the one
that is wanted is imported under stand-ins for the two packages around it; they are gone again when it is there, and
whoever imports ccxt later gets the whole of it. Where that fails, for a version with another layout, the whole package
is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import logging
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from node_agent.exchanges.binance import binance_traits
from node_agent.exchanges.line import Line
from node_agent.exchanges.spot import SpotExchange
from node_agent.exchanges.traits import Traits
from node_protocol.version import __version__

_PACKAGE: Final = "ccxt"
_ASYNC: Final = "ccxt.async_support"
_HOMES: Final = ("ccxt.base.errors", "ccxt.base.exchange")
"""Where the names are at home that ccxt's own modules import from its package."""


def open_binance(
    *,
    key: SecretStr,
    secret: SecretStr,
    symbol: str,
    interval: timedelta,
    recv_window: float,
    url: str | None,
    banned_until: datetime | None = None,
) -> SpotExchange:
    """One account on Binance, for one symbol and candles of one length. Nothing is asked of it yet.

    `recv_window` is how many seconds old a request may be when it arrives. `url` is another exchange on loopback, in
    place of the real one. Before `banned_until` nothing is sent. Must be called inside a running event loop. Raises
    ValueError for a `url` that is not on loopback, or an interval that the exchange has no candles of.
    """
    traits = binance_traits(recv_window)
    options = {**traits.options, "recvWindow": int(recv_window * 1000)}
    line = connect(traits, key=key, secret=secret, options=options, url=url, banned_until=banned_until)
    return SpotExchange(line, traits, symbol=symbol, interval=interval)


def connect(
    traits: Traits,
    *,
    key: SecretStr,
    secret: SecretStr,
    options: Mapping[str, Any],
    url: str | None,
    banned_until: datetime | None = None,
) -> Line:
    """A line to an exchange. Nothing is sent yet. Raises ValueError for a `url` that is not on loopback."""
    settings = {
        "apiKey": key.get_secret_value(),
        "secret": secret.get_secret_value(),
        "enableRateLimit": False,
        "timeout": int(traits.pace.timeout * 1000),
        "aiohttp_trust_env": False,
        "enableLastHttpResponse": False,
        "enableLastResponseHeaders": False,
        "timeout_on_exit": 0,
        "userAgent": f"trading-node/{__version__}",
        "has": {"fetchCurrencies": False},
        "options": {**options, "maxRetriesOnFailure": 0},
    }
    client = exchange_class(traits.name)(settings)
    # Amounts stay the strings that they came as; of Decimals, which it also knows, ccxt loses some on its way.
    client.number = str
    if url is not None:
        client.urls["api"] = _moved(client.urls["api"], url)
    # Below this it writes every request whole, key and signature included.
    logger = logging.getLogger("ccxt.base.exchange")
    logger.setLevel(max(logging.WARNING, logger.level))
    return Line(client, traits, banned_until=banned_until)


def exchange_class(name: str) -> Any:
    """ccxt's class for an exchange, alone where that can be."""
    if _PACKAGE in sys.modules:
        return _whole(name)
    try:
        return _alone(name)
    except Exception:
        for module in [each for each in sys.modules if each == _PACKAGE or each.startswith(_PACKAGE + ".")]:
            del sys.modules[module]
        return _whole(name)


def _whole(name: str) -> Any:
    import ccxt.async_support  # type: ignore[import-untyped]  # noqa: PLC0415  (what this module is there to avoid)

    return getattr(ccxt.async_support, name)


def _alone(name: str) -> Any:
    package = _stand_in(_PACKAGE, None)
    _stand_in(_ASYNC, package.__path__)
    try:
        return getattr(importlib.import_module(f"{_ASYNC}.{name}"), name)
    finally:
        del sys.modules[_ASYNC], sys.modules[_PACKAGE]


def _stand_in(name: str, path: Any) -> ModuleType:
    """A package in its real place of which nothing has run."""
    spec = PathFinder.find_spec(name, path)
    if spec is None:
        raise ImportError(f"no {name}")
    module = importlib.util.module_from_spec(spec)
    module.__getattr__ = _from_its_home  # type: ignore[method-assign]
    sys.modules[name] = module
    return module


def _from_its_home(name: str) -> Any:
    for home in map(importlib.import_module, _HOMES):
        if hasattr(home, name):
            return getattr(home, name)
    raise AttributeError(name)


def _moved(urls: Any, url: str) -> Any:
    """The same paths on another host."""
    if isinstance(urls, Mapping):
        return {name: _moved(each, url) for name, each in urls.items()}
    to = urlsplit(url)
    if not _on_loopback(to.hostname or ""):
        raise ValueError(f"{to.hostname} is not on loopback")
    return urlunsplit(urlsplit(urls)._replace(scheme=to.scheme, netloc=to.netloc))


def _on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The one door to ccxt: loads one exchange of it, and sets it up so that only what we want goes out.

The package would import all of its hundred exchanges, which takes as long as all the rest of a node's start. So the one
that is wanted is imported under stand-ins for the two packages around it; they are gone again when it is there, and
whoever imports ccxt later gets the whole of it. Where that fails, for a version with another layout, the whole package
is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from node_agent.exchanges import allowlist
from node_agent.exchanges.guard import Forbidden, Guard
from node_agent.exchanges.line import Line
from node_agent.exchanges.profile import Opening
from node_agent.exchanges.traits import Traits
from node_protocol.version import __version__

_PACKAGE: Final = "ccxt"
_ASYNC: Final = "ccxt.async_support"
_HOMES: Final = ("ccxt.base.errors", "ccxt.base.exchange")
"""Where the names are at home that ccxt's own modules import from its package."""
_LATER: Final = ("ccxt.static_dependencies.ethabi", "ccxt.static_dependencies.keccak")
"""What its modules import when it is first needed: the whole package would come with it by then."""


def connect(traits: Traits, opening: Opening) -> Line:
    """A line to an exchange, with its guard on. Nothing is sent yet. Must be called inside a running event loop.

    Raises ValueError for a stand-in that is not on this machine, or an exchange that this ccxt does not have;
    AllowlistError for one without an allowlist.
    """
    guard = Guard(allowlist.read(traits.name), origin=opening.url)
    settings = {
        **{ours: opening.credentials[name].get_secret_value() for name, ours in traits.credentials.items()},
        "enableRateLimit": False,
        "timeout": int(traits.pace.timeout * 1000),
        "aiohttp_trust_env": False,
        "enableLastHttpResponse": False,
        "enableLastResponseHeaders": False,
        "timeout_on_exit": 0,
        "userAgent": f"trading-node/{__version__}",
        "has": {"fetchCurrencies": False},
        "options": {**traits.options, "maxRetriesOnFailure": 0},
    }
    client = _silent(exchange_class(traits.ccxt_class or f"{_ASYNC}.{traits.name}"))(settings)
    # Amounts stay the strings that they came as; of Decimals, which it also knows, ccxt loses some on its way.
    client.number = str
    if opening.url is not None:
        client.urls["api"] = _moved(client.urls["api"], opening.url)
    return Line(client, traits, guard, banned_until=opening.banned_until)


def _silent(theirs: Any) -> Any:
    """A class of ccxt's that never tells what it sends: keys and signatures are part of it."""
    logger = logging.getLogger("ccxt.base.exchange")
    logger.setLevel(max(logging.WARNING, logger.level))
    if _warns not in logger.filters:
        logger.addFilter(_warns)  # for whoever sets its level lower than that, later
    quiet = property(lambda _self: False, _stay_quiet)
    return type(theirs.__name__, (theirs,), {"verbose": quiet, "log": lambda *_: None})


def _warns(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _stay_quiet(_self: Any, wanted: object) -> None:
    if wanted:
        raise Forbidden("ccxt would print every request whole, key and signature included: it stays switched off")


def exchange_class(path: str) -> Any:
    """ccxt's class of an exchange by module and name, such as `ccxt.async_support.kraken`; alone where that can be.

    Raises ValueError where this ccxt has no such exchange: an image has those that it was built with.
    """
    if _PACKAGE in sys.modules:
        return _whole(path)
    try:
        return _alone(path)
    except Exception as error:
        for module in [each for each in sys.modules if each == _PACKAGE or each.startswith(_PACKAGE + ".")]:
            del sys.modules[module]
        name = path.rpartition(".")[2]
        if isinstance(error, ModuleNotFoundError) and str(error.name).endswith(f".{name}"):
            raise ValueError(f"the ccxt that is installed here has no {name}") from None
        return _whole(path)


def _whole(path: str) -> Any:
    import ccxt.async_support  # type: ignore[import-untyped]  # noqa: F401, PLC0415  (what this module is to avoid)

    return getattr(importlib.import_module(path), path.rpartition(".")[2])


def _alone(path: str) -> Any:
    package = _stand_in(_PACKAGE, None)
    stand_ins = {_PACKAGE}
    for name in {_ASYNC, path.rpartition(".")[0]}:
        _stand_in(name, package.__path__)
        stand_ins.add(name)
    try:
        for later in _LATER:
            importlib.import_module(later)
        return getattr(importlib.import_module(path), path.rpartition(".")[2])
    finally:
        for name in stand_ins:
            del sys.modules[name]


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
    return urlunsplit(urlsplit(urls)._replace(scheme=to.scheme, netloc=to.netloc))

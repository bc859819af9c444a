"""Where replay and clone state is kept. A store that needs a library of its own is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from verifier.stores.base import Store, StoreUnavailable
from verifier.stores.memory import MemoryStore
from verifier.stores.split import SplitStore

if TYPE_CHECKING:
    from verifier.stores.redis import RedisStore
    from verifier.stores.sql import SqlStore

__all__ = ["MemoryStore", "RedisStore", "SplitStore", "SqlStore", "Store", "StoreUnavailable"]

_NEEDS: Final = {
    "RedisStore": ("verifier.stores.redis", "redis: pip install 'trading-node[redis]'"),
    "SqlStore": ("verifier.stores.sql", "SQLAlchemy: pip install 'trading-node[sql]'"),
}


def __getattr__(name: str) -> object:
    if name not in _NEEDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, what = _NEEDS[name]
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{name} needs {what}") from error

"""Where replay and clone state is kept. A store that needs a library of its own is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verifier.stores.base import Store, StoreUnavailable
from verifier.stores.memory import MemoryStore

if TYPE_CHECKING:
    from verifier.stores.sql import SqlStore

__all__ = ["MemoryStore", "SqlStore", "Store", "StoreUnavailable"]


def __getattr__(name: str) -> object:
    if name != "SqlStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from verifier.stores.sql import SqlStore  # noqa: PLC0415  (only who wants SQL needs SQLAlchemy)
    except ModuleNotFoundError as error:
        raise ImportError("SqlStore needs SQLAlchemy: pip install 'trading-node[sql]'") from error
    return SqlStore

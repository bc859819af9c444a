"""Fixtures that every dialect's tests begin with: its process, and the same as new for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import httpx
import pytest

from tests.exchanges.cases import Case
from tests.venue.process import WITHIN, VenueProcess


def process_of(case: Case, scope: str = "module") -> Callable[..., Any]:
    """The exchange's process, for as long as `scope` says."""

    @pytest.fixture(scope=scope, name="process")  # type: ignore[call-overload, untyped-decorator, unused-ignore]
    def process() -> Iterator[VenueProcess]:
        with case.start() as running:
            yield running

    made: Callable[..., Any] = process
    return made


def as_new(case: Case, name: str) -> Callable[..., Any]:
    """A fixture of this name: the process with new books, and a price that stands still."""

    @pytest.fixture(name=name)
    def fresh(process: VenueProcess) -> VenueProcess:
        process.reset()
        process.price(case.price)
        return process

    made: Callable[..., Any] = fresh
    return made


class ByHand:
    """Somebody who asks an exchange by hand, from `with` to its end."""

    def __init__(self, exchange: VenueProcess) -> None:
        self.exchange = exchange
        self.http = httpx.Client(base_url=exchange.url, timeout=WITHIN, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

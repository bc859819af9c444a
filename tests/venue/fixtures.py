"""Fixtures that every dialect's tests begin with: its process, the same as new for each test, and callers of it.

Each is made for a module or a conftest that gives it a name there: `process = process_of(CASE)`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Self, TypeVar

import httpx
import pytest
import pytest_asyncio

from tests.exchanges.cases import Case
from tests.venue.process import WITHIN, VenueProcess

E = TypeVar("E")


def process_of(case: Case, scope: str = "module", name: str = "process") -> Callable[..., Any]:
    """The exchange's process, for as long as `scope` says."""

    @pytest.fixture(scope=scope, name=name)  # type: ignore[call-overload, untyped-decorator, unused-ignore]
    def process() -> Iterator[VenueProcess]:
        with case.start() as running:
            yield running

    made: Callable[..., Any] = process
    return made


def as_new(case: Case, name: str, of: str = "process") -> Callable[..., Any]:
    """A fixture of this name: the process with new books, and a price that stands still."""

    @pytest.fixture(name=name)
    def fresh(request: pytest.FixtureRequest) -> VenueProcess:
        process: VenueProcess = request.getfixturevalue(of)
        process.reset()
        process.price(case.price)
        return process

    made: Callable[..., Any] = fresh
    return made


def caller_of(kind: type[ByHand], of: str, name: str = "caller") -> Callable[..., Any]:
    """A fixture of this name: somebody who asks the process `of` by hand."""

    @pytest.fixture(name=name)
    def caller(request: pytest.FixtureRequest) -> Iterator[ByHand]:
        with kind(request.getfixturevalue(of)) as ready:
            yield ready

    made: Callable[..., Any] = caller
    return made


def ours_on(of: str, opened: Callable[[str], AbstractAsyncContextManager[E]]) -> Callable[..., Any]:
    """The fixture `exchange`: an account of ours, opened at the address of the process `of`."""

    @pytest_asyncio.fixture(name="exchange")
    async def exchange(request: pytest.FixtureRequest) -> AsyncIterator[E]:
        async with opened(request.getfixturevalue(of).url) as ours:
            yield ours

    made: Callable[..., Any] = exchange
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

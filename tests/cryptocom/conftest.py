"""One exchange for a file's tests, as new for each, and a caller of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cryptocom.caller import Caller
from tests.cryptocom.case import CASE
from tests.venue.process import VenueProcess


@pytest.fixture(scope="module")
def process() -> Iterator[VenueProcess]:
    with CASE.start() as running:
        yield running


@pytest.fixture
def exchange(process: VenueProcess) -> VenueProcess:
    """New books, and a price that stands still."""
    process.reset()
    process.price("40000")
    return process


@pytest.fixture
def caller(exchange: VenueProcess) -> Iterator[Caller]:
    with Caller(exchange) as ready:
        yield ready

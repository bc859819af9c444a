"""One process for all tests here, as new for each, and a caller by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.robinhood.caller import Caller
from tests.robinhood.case import CASE
from tests.venue.process import VenueProcess


@pytest.fixture(scope="session")
def process() -> Iterator[VenueProcess]:
    with CASE.start() as started:
        yield started


@pytest.fixture
def exchange(process: VenueProcess) -> VenueProcess:
    process.reset()
    process.price("40000")
    return process


@pytest.fixture
def caller(exchange: VenueProcess) -> Iterator[Caller]:
    with Caller(exchange) as by_hand:
        yield by_hand

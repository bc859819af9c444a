"""One process for all tests here, as new for each, and a caller by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.robinhood.caller import Caller
from tests.robinhood.case import CASE
from tests.venue.fixtures import as_new, process_of
from tests.venue.process import VenueProcess

process = process_of(CASE, "session")
exchange = as_new(CASE, "exchange")


@pytest.fixture
def caller(exchange: VenueProcess) -> Iterator[Caller]:
    with Caller(exchange) as by_hand:
        yield by_hand

"""One process of Coinbase for each module here, as new for each test; its owner's hand, and ours, connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from node_agent.exchanges.coinbase import Coinbase
from tests.coinbase.caller import Caller
from tests.coinbase.case import CASE
from tests.coinbase.ours import opened
from tests.venue.fixtures import as_new, process_of
from tests.venue.process import VenueProcess

process = process_of(CASE)
venue = as_new(CASE, "venue")


@pytest.fixture
def hand(venue: VenueProcess) -> Iterator[Caller]:
    """The owner's own."""
    with Caller(venue) as caller:
        yield caller


@pytest_asyncio.fixture
async def exchange(venue: VenueProcess) -> AsyncIterator[Coinbase]:
    async with opened(venue.url) as ours:
        yield ours

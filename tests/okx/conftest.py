"""One exchange for a file's tests, as new for each, and a caller of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.okx.caller import Caller
from tests.okx.case import CASE
from tests.venue.fixtures import as_new, process_of
from tests.venue.process import VenueProcess

process = process_of(CASE)
exchange = as_new(CASE, "exchange")


@pytest.fixture
def caller(exchange: VenueProcess) -> Iterator[Caller]:
    with Caller(exchange) as ready:
        yield ready

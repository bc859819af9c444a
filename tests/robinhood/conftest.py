"""One process for all tests here, as new for each, and a caller by hand."""

from __future__ import annotations

from tests.robinhood.caller import Caller
from tests.robinhood.case import CASE
from tests.venue.fixtures import as_new, caller_of, process_of

process = process_of(CASE, "session")
exchange = as_new(CASE, "exchange")
caller = caller_of(Caller, "exchange")

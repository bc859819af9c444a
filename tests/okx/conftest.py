"""One exchange for a file's tests, as new for each, and a caller of it."""

from __future__ import annotations

from tests.okx.caller import Caller
from tests.okx.case import CASE
from tests.venue.fixtures import as_new, caller_of, process_of

process = process_of(CASE)
exchange = as_new(CASE, "exchange")
caller = caller_of(Caller, "exchange")

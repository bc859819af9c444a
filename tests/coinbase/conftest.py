"""One process of Coinbase for each module here, as new for each test; its owner's hand, and ours, connected to it."""

from __future__ import annotations

from tests.coinbase.caller import Caller
from tests.coinbase.case import CASE
from tests.coinbase.ours import opened
from tests.venue.fixtures import as_new, caller_of, ours_on, process_of

process = process_of(CASE)
venue = as_new(CASE, "venue")
hand = caller_of(Caller, "venue", "hand")
exchange = ours_on("venue", opened)

"""`python -m tests.robinhood`: the exchange as a process."""

from __future__ import annotations

from tests.robinhood.app import Robinhood
from tests.venue.serving import main

main(Robinhood)

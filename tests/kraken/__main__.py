"""`python -m tests.kraken`: the exchange as a process; says where it is, and serves until SIGTERM."""

from __future__ import annotations

from tests.kraken.venue import Kraken
from tests.venue.serving import main

main(Kraken)

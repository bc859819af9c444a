"""`python -m tests.polymarket`: Polymarket as a process; says where it is, and serves until SIGTERM.

Beside the parts of the key: `--key page=3` for short pages, `--key forgets=yes` for one that tells nothing of an order
that has ended, `--key delays=3` for one that holds orders back for so many seconds that would fill at once.
"""

from __future__ import annotations

from tests.polymarket.venue import Polymarket
from tests.venue.serving import main

main(Polymarket)

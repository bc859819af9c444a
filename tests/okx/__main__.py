"""`python -m tests.okx`: OKX as a process; says where it is, and serves until SIGTERM."""

from __future__ import annotations

from tests.okx.venue import Okx
from tests.venue.serving import main

main(Okx)

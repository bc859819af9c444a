"""`python -m tests.cryptocom`: Crypto.com on loopback, until SIGTERM."""

from __future__ import annotations

from tests.cryptocom.venue import CryptoCom
from tests.venue import serving

if __name__ == "__main__":
    serving.main(CryptoCom)

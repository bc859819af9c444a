"""`python -m tests.coinbase`: Coinbase as a process."""

from tests.coinbase.venue import CoinbaseVenue
from tests.venue.serving import main

if __name__ == "__main__":
    main(CoinbaseVenue)

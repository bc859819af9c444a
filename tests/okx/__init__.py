"""OKX's spot exchange on loopback: its wire format, its signature and its errors, over the books of `tests.venue`."""

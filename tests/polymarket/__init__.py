"""Polymarket's order book on loopback: its hosts on one port, its signatures and its words, over `tests.venue`."""

"""Robinhood's crypto trading API, version 1, on loopback: wire format, signature and pages, one account with one key.

What its documents leave open is chosen here, and marked as chosen where it stands.
"""

"""Kraken's spot exchange as a process of its own, for tests: its wire format, its signatures, numbers and refusals.

What it says is patterned on recorded bodies (`tests/data/ccxt-static/kraken.json`) and on Kraken's documentation.
"""

"""Coinbase's Advanced Trade on loopback: its wire format, its tokens, its words.

What it checks and answers is written after Coinbase's documents, and after the answers that ccxt has recorded.
"""

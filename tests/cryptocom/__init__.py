"""Crypto.com's exchange on loopback: a process that speaks its API v1, and tests of it."""

"""A loopback exchange that speaks Binance spot's REST format, checks what it gets as Binance does, and keeps books.

`python -m tests.binance --key K --secret S` runs it; `process.BinanceProcess` does so for a test. From the inside out:
`market` (price and candles), `filters`, `books` (the account; no I/O), `params` and `requests` (what came in, whether
it may), `asking`, `public`, `private` and `routes` (what each path does), `limits`, `faults`, `app` (all of it, one
request at a time), `control` (the tests' own door, under /_test/), `server` (HTTP). It knows nothing of the node.
"""

"""A loopback exchange that speaks Binance spot's REST format, checks what it gets as Binance does, and keeps books.

`python -m tests.binance --key K --secret S` runs it; `process.BinanceProcess` does so for a test. Its account, books,
faults and HTTP are those of `tests.venue`. From the inside out: `params` and `requests` (what came in, whether it may),
`asking`, `public`, `private` and `routes` (what each path does), `limits`, `app` (all of it, one request at a time),
`control` (the tests' own door, under /_test/). It knows nothing of the node.
"""

"""How a secret could be written, worked out here once more: what the tests of redaction look for."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

PEM = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIIxgQ2VkbyBhIGNhbmFyeSBrZXkgdGhhdCBvcGVucyBub3RoaW5nIG9o
AoGCCqGSM49AwEHoUQDQgAEy+zt/6c1m0uYt3J0bm90IGEga2V5IGF0IGFsbCBqd
XN0IHNvbWUgbGV0dGVycyBhbmQgZGlnaXRz/+Q==
-----END EC PRIVATE KEY-----
"""


def encoded(value: str) -> Iterator[str]:
    """A text in hex and base64, the last also with something before and behind it."""
    raw = value.encode()
    yield from (raw.hex(), raw.hex().upper())
    for around in (
        value,
        f"user:{value}",
        f"a{value}",
        f"ab{value}",
        json.dumps({"key": value}),
        f"abc{value} and more",
    ):
        for written in (b64encode(around.encode()).decode(), urlsafe_b64encode(around.encode()).decode()):
            yield from (written, written.rstrip("="), quote(written, safe=""))


def spelled(value: str) -> Iterator[str]:
    """A text as it is, in quotes, and in URLs."""
    in_json = json.dumps({"secret": value})[12:-2]
    yield from (value, in_json, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(in_json)[1:-1])
    yield from (repr(value)[1:-1], repr(f"'\"{value}")[1:-1], repr(value.encode())[2:-1])
    for written in (quote(value), quote(value, safe=""), quote_plus(value)):
        yield from (written, re.sub("%..", lambda found: found[0].lower(), written))


def lines(value: str) -> list[str]:
    """What of a text of several lines would betray it."""
    return [each for each in value.splitlines() if len(each) >= 16 and not each.startswith("-----")] or [value]

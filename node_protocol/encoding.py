"""One value, one encoding: base64url without padding and RFC 3339 times, strict both ways."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Final

from node_protocol.refusals import Malformed

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
TIME_PATTERN: Final = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|\+00:00)$"
)
"""RFC 3339 in UTC: an upper-case `T`, and `Z` or `+00:00`, with or without a fraction; no leap seconds."""
_TIME = re.compile(TIME_PATTERN.removesuffix("$"), re.ASCII)


def b64url_encode(value: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def b64url_decode(text: str, *, length: int) -> bytes:
    """The `length` bytes that `text` stands for.

    Raises Malformed unless `text` is exactly what `b64url_encode` makes of them: no padding, no other alphabet, no set
    bits behind the last byte.
    """
    if len(text) != (length * 4 + 2) // 3 or not _BASE64URL.fullmatch(text):
        raise Malformed(f"not base64url of {length} bytes")
    value = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64url_encode(value) != text:
        raise Malformed("base64url with set bits behind the last byte")
    return value


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, `2026-11-24T09:00:00.000Z`. `moment` must be aware."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The aware UTC time that a text of TIME_PATTERN names, to the microsecond. Raises Malformed on anything else."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise Malformed("not an RFC 3339 time in UTC")
    fraction = match[4] or ""
    whole = text[:19] + fraction[:7].ljust(7, "0") if fraction else text[:19]
    try:
        return datetime.fromisoformat(whole).replace(tzinfo=UTC)
    except ValueError as error:
        raise Malformed(f"not a time: {error}") from None

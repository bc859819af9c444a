"""One value, one encoding: base64url without padding and RFC 3339 times, strict both ways."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime

from node_protocol.refusals import Malformed

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)",
    re.ASCII,
)


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
    """The aware UTC time that an RFC 3339 text names, to the microsecond.

    Taken: an upper-case `T`, and `Z` or `+00:00`, with or without a fraction. Raises Malformed on anything else, leap
    seconds included.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise Malformed("not an RFC 3339 time in UTC")
    *fields, fraction = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    microsecond = int((fraction or "")[:6].ljust(6, "0"))
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
    except ValueError as error:
        raise Malformed(f"not a time: {error}") from None

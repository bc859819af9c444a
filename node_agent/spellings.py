"""How a secret could be written, so that it is known again: in quotes, in URLs, in hex, in base64. Pure."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

_SHORTEST_LINE: Final = 16
"""Of a secret of several lines, each that is so long is one of its own: whoever prints them may print them apart."""


def spelled(value: str | bytes) -> set[str]:
    """How a secret is written where it can be read; `encoded` is the rest."""
    return _of_text(value) if isinstance(value, str) else _of_bytes(value)


def _of_text(text: str) -> set[str]:
    """How a text is written: as it is, once and twice inside of quotes, in URLs; so is each of its lines."""
    once = {text, *_quoted(text)}
    twice = {each for before in once for each in _quoted(before)}
    written = once | twice | {each for before in once for each in _in_urls(before)}
    if digits := re.fullmatch(r"(?:0[xX])?([0-9A-Fa-f]{16,})", text):
        written |= {digits[1].lower(), digits[1].upper()}
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > 1:
        for line in lines:
            if len(line) >= _SHORTEST_LINE and not line.startswith("-----"):
                written |= _of_text(line)
    return written


def _of_bytes(raw: bytes) -> set[str]:
    """The same for bytes that are no text."""
    return {raw.decode("latin-1"), raw.decode("utf-8", errors="replace"), *_repr(raw), *_in_urls(raw)}


def _quoted(text: str) -> Iterator[str]:
    """What a text is inside of quotes."""
    in_json = json.dumps(text)[1:-1]
    yield from (in_json, in_json.replace("/", "\\/"), json.dumps(text, ensure_ascii=False)[1:-1])
    yield from _repr(text)
    yield from _repr(as_bytes(text))


def _repr(value: str | bytes) -> Iterator[str]:
    """What Python writes inside of quotes. Which quotes it takes, and so escapes, hangs on what else is there."""
    parts = value.split("'") if isinstance(value, str) else value.split(b"'")
    written = [repr(each).lstrip("b")[1:-1] for each in parts]
    yield "'".join(written)
    yield "\\'".join(written)


def _in_urls(value: str | bytes) -> Iterator[str]:
    raw = as_bytes(value)
    for each in (quote(raw, safe=""), quote(raw), quote(raw, safe="~()*!.'"), quote_plus(raw)):
        yield each
        yield _small_escapes(each)


def _small_escapes(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def encoded(value: str | bytes) -> Iterator[str]:
    """A secret in hex, and in base64 with 0, 1 or 2 bytes before it in its first group.

    Of a text also what it is inside of quotes: a JSON that holds it may be encoded as a whole.
    """
    for each in {value} if isinstance(value, bytes) else {as_bytes(each) for each in (value, *_quoted(value))}:
        yield from (each.hex(), each.hex().upper())
        for before in range(3):
            # The first and the last character may also hold bits of what stands beside.
            code = b64encode(bytes(before) + each).decode()[(8 * before + 5) // 6 : 8 * (before + len(each)) // 6]
            in_url = quote(code, safe="")
            yield from (code, code.translate(str.maketrans("+/", "-_")), in_url, _small_escapes(in_url))


def as_bytes(value: str | bytes) -> bytes:
    """A text's bytes; what is half of a character is no reason to fail."""
    return value if isinstance(value, bytes) else value.encode("utf-8", errors="backslashreplace")

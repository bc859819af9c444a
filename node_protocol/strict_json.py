"""Strict JSON (RFC 8259): UTF-8, no name twice, no NaN or Infinity, at most 32 levels, nothing after the value."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

from pydantic_core import from_json, to_json

from node_protocol.refusals import Malformed

MAX_DEPTH: Final = 32
"""Levels of arrays and objects, the outermost counted as one."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def loads(body: bytes) -> Any:
    """The one value in `body`. Raises Malformed, and nothing else, whatever the bytes are."""
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
        # This parser is fast and lenient. But where writing the value gives the same bytes again, these had no name
        # twice, nothing behind the value and no second spelling: what nodes send is like that.
        if to_json(value) == body and _surely_shallow(body, value):
            return value
    except ValueError:
        pass
    return _loads_any(body)


def _loads_any(body: bytes) -> Any:
    """As `loads`, for JSON that is spelled in any legal way."""
    if _too_deep(body):
        raise Malformed(f"more than {MAX_DEPTH} levels deep")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            # A lone surrogate is no character: it could not be stored or sent on.
            _ENCODER.encode(value).encode("utf-8")
    except Malformed:
        raise
    except UnicodeEncodeError:
        raise Malformed("a lone surrogate in a string") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error}") from None
    except ValueError:
        raise Malformed("a number of too many digits") from None
    return value


def dumps(value: Any) -> bytes:
    """`value` as compact UTF-8 JSON. Raises ValueError for NaN, TypeError for what JSON has no word for."""
    return _ENCODER.encode(value).encode("utf-8")


def _surely_shallow(body: bytes, value: Any) -> bool:
    """Whether no level can be deeper than the last allowed one: indented, each level begins its lines with a blank."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return True
    return b"\n" + b" " * MAX_DEPTH not in to_json(value, indent=1)


def _too_deep(body: bytes) -> bool:
    """Counts before it parses, so that the parser's own stack is never at the sender's mercy."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        if bracket in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a name twice in one object")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed("a number past all bounds")
    return number


def _no_constant(text: str) -> NoReturn:
    raise Malformed(f"{text} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

"""How more than one exchange writes things. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.venue.http import Answer


def plain(amount: Decimal) -> str:
    """Without an exponent, and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer, written as closely as JSON can be."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode(), headers or {})

"""Parameters of one request, read as strictly as Binance does: each is asked for by name, none may be left over."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qsl

from tests.venue.refusals import Refused, invalid, missing

CLIENT_ID: Final = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
WHOLE: Final = r"^[0-9]{1,20}$"
DECIMAL: Final = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
SYMBOL: Final = r"^[A-Z0-9-_.]{1,20}$"


class Params:
    """The query's parameters, and the body's that the query does not have."""

    def __init__(self, query: str, body: str = "") -> None:
        self._sent = _parsed(body) | _parsed(query)
        self._read: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether it was sent; this does not count as reading it."""
        return name in self._sent

    def text(self, name: str, pattern: str | None = None) -> str:
        """A parameter that must be there."""
        value = self.optional(name, pattern) if self._sent.get(name) else None
        if value is None:
            raise missing(name)
        return value

    def optional(self, name: str, pattern: str | None = None) -> str | None:
        """A parameter that may be left out, but not be empty."""
        value = self._sent.get(name)
        if value is None:
            return None
        self._read.add(name)
        if not value:
            raise Refused(-1105, f"Parameter '{name}' was empty.")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'.")
        return value

    def whole(self, name: str) -> int | None:
        """A number without point or sign."""
        value = self.optional(name, WHOLE)
        if value is not None and int(value) >= 2**63:
            raise Refused(-1108, f"Parameter '{name}' overflowed.")
        return None if value is None else int(value)

    def decimal(self, name: str) -> Decimal | None:
        """An amount or a price."""
        value = self.optional(name, DECIMAL)
        return None if value is None else Decimal(value)

    def limit(self, usual: int, most: int) -> int:
        """How many rows are asked for."""
        limit = self.whole("limit")
        if limit is None:
            return usual
        if not 1 <= limit <= most:
            raise invalid("limit")
        return limit

    def choice(self, name: str, values: Collection[str], refusal: Refused) -> str | None:
        """One word of a list."""
        value = self.optional(name)
        if value is not None and value not in values:
            raise refusal
        return value

    def finish(self) -> None:
        """Refuses what nobody read."""
        sent, read = len(self._sent), len(self._read)
        if not read and sent:
            raise Refused(-1101, f"Too many parameters; expected '0' and received '{sent}'.")
        if read < sent:
            raise Refused(
                -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
            )


def _parsed(encoded: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        if name in values:
            raise Refused(-1101, f"Duplicate values for parameter '{name}'.")
        values[name] = value
    return values

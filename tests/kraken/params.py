"""Parameters of one request: each is asked for by name, and none may be left over, which Kraken itself is not so strict
about.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qsl

from tests.kraken.refusals import Said

WHOLE: Final = r"[0-9]{1,19}"
DECIMAL: Final = r"[0-9]{1,12}(\.[0-9]{1,10})?"


class Params:
    """Those of a query, or of a form."""

    def __init__(self, encoded: str) -> None:
        pairs = parse_qsl(encoded, keep_blank_values=True, strict_parsing=True) if encoded else []
        self._sent = dict(pairs)
        if len(self._sent) != len(pairs):
            raise Said("EGeneral:Invalid arguments")
        self._read: set[str] = set()

    def optional(self, name: str, pattern: str = r".+") -> str | None:
        """One that may be left out, but must be well written."""
        self._read.add(name)
        value = self._sent.get(name)
        if value is not None and not re.fullmatch(pattern, value, re.ASCII):
            raise Said(f"EGeneral:Invalid arguments:{name}")
        return value

    def text(self, name: str, pattern: str = r".+") -> str:
        """One that must be there."""
        value = self.optional(name, pattern)
        if value is None:
            raise Said("EGeneral:Invalid arguments")
        return value

    def whole(self, name: str, usual: int = 0) -> int:
        """A number without point or sign."""
        value = self.optional(name, WHOLE)
        return usual if value is None else int(value)

    def decimal(self, name: str) -> Decimal | None:
        """An amount or a price."""
        value = self.optional(name, DECIMAL)
        return None if value is None else Decimal(value)

    def finish(self) -> None:
        """Refuses what nobody read."""
        left = sorted(self._sent.keys() - self._read)
        if left:
            raise Said(f"EGeneral:Invalid arguments:{left[0]}")

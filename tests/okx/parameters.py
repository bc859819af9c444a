"""Parameters of one request, each asked for by its name: what nobody asked for is refused, as is what is none."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.okx.refusals import because, wrong
from tests.venue.http import HttpRequest

_WHOLE: Final = r"[0-9]{1,19}"
_AMOUNT: Final = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
CLIENT_ID: Final = r"[A-Za-z0-9]{1,32}"


class Parameters:
    """Those of a query, or the members of a body."""

    def __init__(self, sent: Mapping[str, Any]) -> None:
        self._left = dict(sent)

    @classmethod
    def of(cls, request: HttpRequest) -> Parameters:
        """Of a request: in its query or in its body, never in both. Raises Refused."""
        if request.method == "GET":
            pairs = parse_qsl(request.query, keep_blank_values=True, strict_parsing=bool(request.query))
            if len({name for name, _ in pairs}) != len(pairs) or request.body:
                raise wrong("request")
            return cls(dict(pairs))
        if request.query:
            raise wrong("request")
        if request.headers.get("content-type") != "application/json":
            raise because(50006)
        try:
            body = json.loads(request.body)
        except ValueError:
            raise because(50002) from None
        if not isinstance(body, dict):
            raise because(50002)
        return cls(body)

    def text(self, name: str, form: str = r".+") -> str:
        """One that must be there."""
        value = self.optional(name, form)
        if value is None:
            raise because(50014, f"Parameter {name} can not be empty.")
        return value

    def optional(self, name: str, form: str = r".+") -> str | None:
        """One that may be left out, or empty."""
        value = self._left.pop(name, None)
        if value is None or value == "":
            return None
        if not isinstance(value, str) or not re.fullmatch(form, value, re.ASCII):
            raise wrong(name)
        return value

    def choice(self, name: str, values: Collection[str]) -> str | None:
        """One word of a list."""
        value = self.optional(name)
        if value is not None and value not in values:
            raise wrong(name)
        return value

    def whole(self, name: str) -> int | None:
        """A number without point or sign."""
        value = self.optional(name, _WHOLE)
        return None if value is None else int(value)

    def amount(self, name: str) -> Decimal | None:
        """A price or an amount."""
        value = self.optional(name, _AMOUNT)
        return None if value is None else Decimal(value)

    def flag(self, name: str) -> bool:
        """A JSON boolean; false when it is left out."""
        value = self._left.pop(name, False)
        if not isinstance(value, bool):
            raise wrong(name)
        return value

    def limit(self, usual: int, most: int) -> int:
        """How many rows are asked for."""
        limit = self.whole("limit")
        if limit is not None and not 1 <= limit <= most:
            raise wrong("limit")
        return usual if limit is None else limit

    def finish(self) -> None:
        """Refuses what nobody asked for."""
        if self._left:
            raise wrong(min(self._left))

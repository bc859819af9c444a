"""Requests made by hand, signed as Kraken documents it, or wrongly on purpose."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import urlencode

from tests.kraken.case import KEY, SECRET
from tests.kraken.signing import signature
from tests.kraken.venue import FORM, PRIVATE, PUBLIC
from tests.venue.fixtures import ByHand
from tests.venue.process import VenueProcess

ORDER: Final[dict[str, Any]] = {
    "pair": "XBTUSD",
    "type": "buy",
    "ordertype": "limit",
    "volume": "0.01",
    "price": "30000",
}


class Caller(ByHand):
    """A caller with the account's key."""

    def __init__(self, exchange: VenueProcess) -> None:
        super().__init__(exchange)
        self.nonce = time.time_ns() // 1000

    def get(self, endpoint: str, **params: Any) -> Any:
        """What a public endpoint answers."""
        return self.http.get(f"{PUBLIC}{endpoint}", params=params).json()

    def post(
        self,
        endpoint: str,
        *,
        nonce: int | None = None,
        key: str = KEY,
        secret: str = SECRET,
        content: str = FORM,
        **params: Any,
    ) -> Any:
        """What a private endpoint answers; the number is the next one unless it is given."""
        if nonce is None:
            self.nonce = nonce = self.nonce + 1
        body = urlencode({"nonce": nonce, **params})
        signed = signature(f"{PRIVATE}{endpoint}", str(nonce), body, secret)
        headers = {"API-Key": key, "API-Sign": signed, "Content-Type": content}
        answer = self.http.post(f"{PRIVATE}{endpoint}", content=body, headers=headers)
        assert answer.status_code == 200
        return answer.json()

    def done(self, endpoint: str, **params: Any) -> Any:
        """Its result, where there is no error."""
        answer = self.post(endpoint, **params)
        assert answer["error"] == []
        return answer["result"]

    def error(self, endpoint: str, **params: Any) -> str:
        """The one error that it answers with."""
        answer = self.post(endpoint, **params)
        (error,) = answer["error"]
        assert "result" not in answer
        return str(error)

"""An exchange of some dialect as one thing that answers requests.

A dialect is a subclass that reads a request strictly, checks its signature as the real exchange does, carries it out on
`self.books`, and writes the answer as the real exchange writes it.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from tests.venue.account import Account
from tests.venue.http import Answer, HttpRequest
from tests.venue.refusals import Refused


class Venue(Account):
    """An exchange of some dialect; what goes wrong before a request is read, it does not read."""

    @abstractmethod
    def perform(self, request: HttpRequest) -> Answer:
        """Check the request and do what it asks. Raises Refused, which `refused` writes down."""

    @abstractmethod
    def refused(self, refused: Refused) -> Answer:
        """A refusal in this exchange's words."""

    async def respond(self, request: HttpRequest) -> Answer | None:
        self.requests[f"{request.method} {request.path}"] += 1
        fault = self.faults.next(request.method, request.path)
        if fault is None:
            return self._performed(request)
        match fault.what:
            case "drop_before":
                return None
            case "5xx_before":
                return self.unavailable()
            case "hang_before":
                await asyncio.sleep(fault.seconds)
                return self._performed(request)
        return await self._after(fault, self._performed(request))

    def _performed(self, request: HttpRequest) -> Answer:
        try:
            return self.perform(request)
        except Refused as refused:
            self.refusals[f"{refused.code} {refused.message}"] += 1
            return self.refused(refused)

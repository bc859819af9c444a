"""Signed requests for any ASGI application: `SignedPaths` around it checks them, and signs what it answers.

    app = SignedPaths(app, verifier, authenticate=["/signals"], verify=["/v1/sync"])      # an AsyncVerifier

Its handlers learn who sent a request from `sender_in(scope)`, and what a sync says from `sync_in(scope)`; the body was
read by then, and is handed on. They refuse by raising `Refused`, which goes out signed. What becomes of other answers
stands in `_answers`: JSON is signed, and nothing else is let out as if it were. A websocket to such a path is closed.
"""

from __future__ import annotations

from collections.abc import Collection

from node_protocol import refusals
from node_protocol.refusals import Misuse
from verifier.checks import Authenticated
from verifier.integrations import asgi_io
from verifier.integrations._answers import NotSigned, see_length, signed_json, stand_in
from verifier.integrations._paths import FOUND, Found, NotChecked, Paths, sender_in, sender_of, sync_in
from verifier.integrations.asgi_io import App, Message, Receive, Scope, Send
from verifier.verifier import Answer, AsyncVerifier, AsyncVeto

__all__ = ["NotChecked", "NotSigned", "SignedPaths", "sender_in", "sync_in"]


class SignedPaths:
    """ASGI middleware: requests to these paths reach `app` only once `verifier` has accepted them.

    `authenticate` are paths of any JSON payload, `verify` those of syncs; one that ends in `/` stands for all below it.
    `veto` is that of `AsyncVerifier.verify`. Whatever changes answers stands inside of it. Raises Misuse for a verifier
    or paths that are none.
    """

    def __init__(
        self,
        app: App,
        verifier: AsyncVerifier,
        *,
        authenticate: Collection[str] = (),
        verify: Collection[str] = (),
        veto: AsyncVeto | None = None,
    ) -> None:
        if not isinstance(verifier, AsyncVerifier):
            raise Misuse("an ASGI application wants an AsyncVerifier")
        self._app = app
        self._verifier = verifier
        self._paths = Paths(authenticate, verify)
        self._veto = veto

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Checks, hands on, signs. What the application raises goes on to whoever is outside, and nothing is signed."""
        if scope["type"] not in ("http", "websocket") or not self._paths.has(scope["path"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._checked(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = await asgi_io.read(scope, receive, asgi_io.raw_target(scope))
            found: Found
            if self._paths.verifies(scope["path"]):
                found = await self._verifier.verify(request, veto=self._veto)
            else:
                found = await self._verifier.authenticate(request)
        except asgi_io.Disconnected:
            return
        except refusals.Refused as refused:
            await asgi_io.send(self._verifier.refuse(refused), send)
            return
        answering = _Answering(self._verifier, sender_of(found), send)
        inside = {**scope, "extensions": _without_bypass(scope), FOUND: found}
        try:
            await self._app(inside, asgi_io.again(request.body, receive), answering)
        except refusals.Refused as refused:
            if answering.done:  # it was a task behind the answer that refused: there is nobody left to tell
                raise
            await answering.end(self._verifier.refuse(refused, sender_of(found)))
        if not answering.done:
            raise NotSigned("a handler of a signed path did not answer to the end")


class _Answering:
    """The application's `send`: takes its answer whole, and sends what goes out for it as soon as it is."""

    def __init__(self, verifier: AsyncVerifier, sender: Authenticated, send: Send) -> None:
        self.done = False
        self._signing = (verifier, sender)
        self._send = send
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if self.done:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in message.get("headers", ())]
            # Told from the head alone: what is no JSON may be a stream that has no end.
            if (answer := stand_in(*self._signing, self._status, self._headers)) is not None:
                await self.end(answer)
            return
        self._body += message.get("body", b"")
        see_length(len(self._body))
        if not message.get("more_body", False):
            await self.end(signed_json(*self._signing, self._status, self._headers, self._body))

    async def end(self, answer: Answer) -> None:
        """Send this, and nothing more."""
        self.done = True
        await asgi_io.send(answer, self._send)


def _without_bypass(scope: Scope) -> dict[str, object]:
    """The server's extensions but those by which an answer could pass us by, as a file that the server sends itself."""
    found = scope.get("extensions") or {}
    return {name: value for name, value in found.items() if not name.startswith("http.response.")}

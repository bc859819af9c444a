"""Signed requests for any WSGI application: `SignedPaths` around it checks them, and signs what it answers.

    application = SignedPaths(application, verifier, authenticate=["/signals"], verify=["/v1/sync"])      # a Verifier

Its handlers learn who sent a request from `sender_in(environ)`, and what a sync says from `sync_in(environ)`; the body
was read by then, and is handed on. They refuse by raising `Refused`, which goes out signed. What becomes of other
answers stands in `_answers`: JSON is signed, and nothing else is let out as if it were. What a server must tell of a
request, and where WSGI tells less than came, is in `wsgi_io`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from io import BytesIO
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from node_protocol import refusals
from node_protocol.refusals import Misuse
from verifier.checks import Authenticated
from verifier.integrations import wsgi_io
from verifier.integrations._answers import NotSigned, phrase, see_length, signed, stand_in
from verifier.integrations._paths import FOUND, Found, NotChecked, Paths, sender_in, sender_of, sync_in
from verifier.verifier import Answer, Verifier, Veto

__all__ = ["NotChecked", "NotSigned", "SignedPaths", "sender_in", "sync_in"]


class SignedPaths:
    """WSGI middleware: requests to these paths reach `app` only once `verifier` has accepted them.

    `authenticate` are paths of any JSON payload, `verify` those of syncs; one that ends in `/` stands for all below it.
    `veto` is that of `Verifier.verify`. Whatever changes answers stands inside of it. Raises Misuse for a verifier or
    paths that are none.
    """

    def __init__(
        self,
        app: WSGIApplication,
        verifier: Verifier,
        *,
        authenticate: Collection[str] = (),
        verify: Collection[str] = (),
        veto: Veto | None = None,
    ) -> None:
        if not isinstance(verifier, Verifier):
            raise Misuse("a WSGI application wants a Verifier")
        self._app = app
        self._verifier = verifier
        self._paths = Paths(authenticate, verify)
        self._veto = veto

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Checks, hands on, signs. What the application raises goes on to whoever is outside, and nothing is signed."""
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if not self._paths.has(path):
            return self._app(environ, start_response)
        answer = self._checked(environ, syncs=self._paths.verifies(path))
        lines = [*answer.headers, ("content-length", str(len(answer.body)))]
        start_response(f"{answer.status} {phrase(answer.status)}", lines)
        return [answer.body]

    def _checked(self, environ: WSGIEnvironment, *, syncs: bool) -> Answer:
        verifier = self._verifier
        try:
            request = wsgi_io.read(environ)
            found: Found = verifier.verify(request, veto=self._veto) if syncs else verifier.authenticate(request)
        except refusals.Refused as refused:
            return verifier.refuse(refused)
        body = {"wsgi.input": BytesIO(request.body), "CONTENT_LENGTH": str(len(request.body))}
        try:
            return self._answered({**environ, **body, FOUND: found}, sender_of(found))
        except refusals.Refused as refused:
            return verifier.refuse(refused, sender_of(found))

    def _answered(self, environ: WSGIEnvironment, sender: Authenticated) -> Answer:
        """What goes out for the application's answer. Raises NotSigned, and what the application raises."""
        heads: list[tuple[int, list[tuple[str, str]]]] = []
        body = bytearray()

        def start(status: str, headers: list[tuple[str, str]], _error: object = None, /) -> Callable[[bytes], object]:
            heads.append((int(status[:3]), headers))
            return body.extend

        parts = self._app(environ, start)
        try:
            for part in parts:
                # Told from the head alone: what is no JSON may be a stream that has no end.
                if heads and (answer := stand_in(self._verifier, sender, *heads[-1])) is not None:
                    return answer
                body += part
                see_length(len(body))
        finally:
            if hasattr(parts, "close"):
                parts.close()
        if not heads:
            raise NotSigned("a handler of a signed path did not answer")
        return signed(self._verifier, sender, *heads[-1], body)

"""From WSGI to the verifier: a request with its raw target and a bounded body.

The raw target is `RAW_URI` (gunicorn, werkzeug) or `REQUEST_URI` (uWSGI, mod_wsgi); behind a server that tells neither
everything is refused as `unavailable`. Repeated header lines come joined by commas, which is the legal form of none of
ours; where a server keeps one of two `Content-Type` lines instead, nobody behind it can know. How long a body may take
is for the server to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from wsgiref.types import WSGIEnvironment

from node_protocol import MAX_BODY
from node_protocol.refusals import Code, Refused
from verifier.checks import SignedRequest
from verifier.integrations._paths import see_size, target_unknown

_PIECE: Final = 64 * 1024
"""Bytes that are read at a time."""


def read(environ: WSGIEnvironment, read_body: Callable[[], bytes] | None = None) -> SignedRequest:
    """The request as the server in front tells it.

    `read_body` gives the body where a framework has its own way; it stops by itself one byte behind the limit. Raises
    Refused: `unavailable` without a raw target, `too_large` before more than the limit and that byte was taken,
    `unauthenticated` for a body that ends before its declared length.
    """
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not target:
        raise target_unknown("RAW_URI or REQUEST_URI of the WSGI environ")
    declared = environ.get("CONTENT_LENGTH")
    see_size(declared)
    body = read_body() if read_body else _body(environ)
    if len(body) > MAX_BODY:
        raise Refused(Code.TOO_LARGE, "body_over_1_mib")
    if declared and len(body) != int(declared):
        raise Refused(Code.UNAUTHENTICATED, "body_does_not_come")
    peer = environ.get("REMOTE_ADDR") or None
    return SignedRequest(environ["REQUEST_METHOD"], target, _headers(environ), body, peer)


def _headers(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    named = [(name.removeprefix("HTTP_"), value) for name, value in environ.items() if name.startswith("HTTP_")]
    named += [("CONTENT_TYPE", environ["CONTENT_TYPE"])] if environ.get("CONTENT_TYPE") else []
    return [(name.replace("_", "-").lower(), value.strip(" \t")) for name, value in named]


def _body(environ: WSGIEnvironment) -> bytes:
    declared = environ.get("CONTENT_LENGTH")
    if not declared and not environ.get("wsgi.input_terminated"):
        return b""  # nobody says where it ends: to read on could mean to wait for the client's next request
    left = int(declared) if declared else MAX_BODY + 1
    body = bytearray()
    while left > 0 and (piece := environ["wsgi.input"].read(min(left, _PIECE))):
        body += piece
        left -= len(piece)
    return bytes(body)

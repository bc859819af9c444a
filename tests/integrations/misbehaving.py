"""Handlers that answer what they should not, once a framework: the body of a signed `POST /do` says what they do."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import repeat
from typing import Any, Final, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from flask import Flask, Response, request

from examples.fastapi_server import verifier as async_verifier
from examples.flask_server import verifier
from node_protocol import MAX_BODY
from node_protocol.refusals import Code, Refused
from verifier import Authenticated
from verifier.integrations import asgi, wsgi
from verifier.integrations.asgi_io import Message, Receive, Scope, Send
from verifier.integrations.django import authenticated as told_by_django
from verifier.integrations.django import verified as synced_by_django
from verifier.integrations.fastapi import Node, SignedPaths, Sync
from verifier.integrations.flask import authenticated

JSON: Final = {"content-type": "application/json; charset=utf-8", "x-kept": "yes", "etag": '"1"'}
HTML: Final = {"content-type": "text/html", "retry-after": "7"}
SIGNED: Final = ["/do", "/do-later", "/unlisted-sync"]


class Said(NamedTuple):
    """What a handler answers."""

    status: int
    headers: Mapping[str, str]
    parts: Iterable[bytes]


DOINGS: Final[Mapping[str, Said]] = {
    "json": Said(201, JSON, [b'{"a":', b"", b"1}"]),
    "problem": Said(409, {"content-type": "application/problem+json"}, [b'{"code":"taken"}']),
    "json error": Said(404, JSON, [b'{"detail":"no such signal"}']),
    "json failure": Said(502, JSON, [b'{"detail":"the exchange is away"}']),
    "page": Said(200, HTML, [b"<p>welcome</p>"]),
    "missing page": Said(404, HTML, [b"<p>swordfish</p>"]),
    "odd page": Said(499, HTML, [b"<p>swordfish</p>"]),
    "failure page": Said(503, HTML, [b"<p>swordfish</p>"]),
    "redirect": Said(307, {"location": "/elsewhere"}, []),
    "nothing": Said(204, JSON, []),
    "coded": Said(200, {**JSON, "content-encoding": "gzip"}, [b"\x1f\x8b"]),
    "long json": Said(200, JSON, [b" " * MAX_BODY, b"1"]),
    "endless json": Said(200, JSON, repeat(b" " * 1000)),
    "endless page": Said(200, {"content-type": "text/event-stream"}, repeat(b"data: x\n\n")),
}


def said(body: bytes) -> Said:
    """What is to be said to this body. Raises what it asks for."""
    do = json.loads(body)["do"]
    if do == "raise":
        raise RuntimeError("swordfish")
    if do == "refuse":
        raise Refused(Code.RATE_LIMITED, "too_many_signals")
    return DOINGS[do]


async def _later(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


# Without a framework.


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/unlisted":
        asgi.sender_in(scope)
    if scope["path"] == "/unlisted-sync":
        asgi.sync_in(scope)
    status, headers, parts = said((await receive())["body"])
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    for part in parts:
        more: Message = {"type": "http.response.body", "body": part, "more_body": True}
        await send(more)
    await send({"type": "http.response.body"})


bare_asgi = asgi.SignedPaths(_bare, async_verifier, authenticate=SIGNED)


def _bare_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/unlisted":
        wsgi.sender_in(environ)
    if environ["PATH_INFO"] == "/unlisted-sync":
        wsgi.sync_in(environ)
    status, headers, parts = said(environ["wsgi.input"].read())
    start_response(f"{status} So It Is", list(headers.items()))
    return parts


bare_wsgi = wsgi.SignedPaths(_bare_wsgi, verifier, authenticate=SIGNED)


# FastAPI.

fastapi_app = FastAPI()
fastapi_app.add_middleware(SignedPaths, verifier=async_verifier, authenticate=SIGNED)


@fastapi_app.post("/do")
@fastapi_app.post("/unlisted")
async def _do_fastapi(request: Request, _sender: Node) -> StreamingResponse:
    status, headers, parts = said(await request.body())
    return StreamingResponse(_later(parts), status, dict(headers))


@fastapi_app.post("/unlisted-sync")
async def _sync_fastapi(_verified: Sync) -> dict[str, str]:
    return {"nobody": "has checked this"}


# Flask.

flask_app = Flask(__name__)


@flask_app.before_request
def _look() -> None:
    request.get_data()


@flask_app.post("/do")
@authenticated(verifier)
async def _do_flask(_sender: Authenticated) -> Response:
    status, headers, parts = said(request.get_data())
    return Response(iter(parts), status, dict(headers))


# Django, with a view of each kind.

settings.configure(ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY=secrets.token_urlsafe())


def _streamed(said: Said, parts: Any) -> Any:
    response = StreamingHttpResponse(parts, status=said.status, headers=said.headers)
    if "content-type" not in said.headers:
        del response["content-type"]
    return response


@told_by_django
def _do_django(request: Any, _sender: Authenticated) -> Any:
    answer = said(request.body)
    return _streamed(answer, answer.parts)


@told_by_django
async def _do_django_later(request: Any, _sender: Authenticated) -> Any:
    answer = said(request.body)
    return _streamed(answer, _later(answer.parts))


@synced_by_django
def _sync_django(_request: Any, _verified: object) -> Any:
    return JsonResponse({"nobody": "has checked this"})


urlpatterns = [
    path("do", _do_django),
    path("do-later", _do_django_later),
    path("unlisted", _do_django),
    path("unlisted-sync", _sync_django),
]
django_wsgi = wsgi.SignedPaths(get_wsgi_application(), verifier, authenticate=SIGNED)
django_asgi = asgi.SignedPaths(get_asgi_application(), async_verifier, authenticate=SIGNED)

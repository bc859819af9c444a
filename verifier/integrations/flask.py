"""Signed requests in Flask: a decorator checks who speaks, and signs what the view answers.

    @app.post("/signals")
    @authenticated(verifier)                             # a Verifier
    def signals(sender):                                 # request.get_json() is what was authenticated
        return {"node": sender.key.node_id}              # goes out signed

    @app.post("/v1/sync")
    @verified(verifier)
    def sync(verified): ...                              # verified.message, verified.ticket

What is signed is what the view answers, or the error handler in its place: JSON, and nothing else as if it were (see
`_answers`). A view refuses by raising `Refused`. An `after_request` function that changes bodies breaks the signature,
and the node takes that for a fault of the line. What a server must tell of a request stands in `wsgi_io`.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

try:
    from flask import Response, after_this_request, current_app, request
    from flask.typing import ResponseReturnValue
    from werkzeug.exceptions import ClientDisconnected
except ModuleNotFoundError as error:
    raise ImportError("this needs Flask: pip install 'trading-node[flask]'") from error

from node_protocol import MAX_BODY, refusals
from node_protocol.refusals import Code, Misuse
from verifier.checks import Authenticated, SignedRequest
from verifier.integrations import wsgi_io
from verifier.integrations._answers import see_length, signed, stand_in
from verifier.integrations._paths import sender_of
from verifier.verifier import Answer, Verified, Verifier, Veto

P = ParamSpec("P")
F = TypeVar("F", Authenticated, Verified)
Returned: TypeAlias = ResponseReturnValue | Awaitable[ResponseReturnValue]


def authenticated(
    verifier: Verifier,
) -> Callable[[Callable[Concatenate[Authenticated, P], Returned]], Callable[P, ResponseReturnValue]]:
    """Lets a request to the view only once it is authenticated, whatever JSON it brings; its sender comes first.

    Raises Misuse for a verifier that is none.
    """
    return functools.partial(_guarded, _threaded(verifier), verifier.authenticate)


def verified(
    verifier: Verifier, *, veto: Veto | None = None
) -> Callable[[Callable[Concatenate[Verified, P], Returned]], Callable[P, ResponseReturnValue]]:
    """Lets a sync to the view only once all checks accept it; it comes first. `veto` is that of `Verifier.verify`.

    Raises Misuse for a verifier that is none.
    """
    return functools.partial(_guarded, _threaded(verifier), functools.partial(verifier.verify, veto=veto))


def _guarded(
    verifier: Verifier, check: Callable[[SignedRequest], F], view: Callable[Concatenate[F, P], Returned]
) -> Callable[P, ResponseReturnValue]:
    @functools.wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        try:
            found = check(wsgi_io.read(request.environ, _body))
        except refusals.Refused as refused:
            return _response(verifier.refuse(refused))
        after_this_request(functools.partial(_signed, verifier, sender_of(found)))
        try:
            answer: ResponseReturnValue = current_app.ensure_sync(view)(found, *args, **kwargs)
        except refusals.Refused as refused:
            return _response(verifier.refuse(refused))
        return answer

    return guarded


def _threaded(verifier: Verifier) -> Verifier:
    if not isinstance(verifier, Verifier):
        raise Misuse("Flask wants a Verifier")
    return verifier


def _body() -> bytes:
    """The body by Flask's own way, which keeps it for the view, and takes it from whoever has read it before us."""
    request.max_content_length = MAX_BODY + 1  # werkzeug stops there without a word
    try:
        return request.get_data()
    except ClientDisconnected:
        raise refusals.Refused(Code.UNAUTHENTICATED, "body_does_not_come") from None


def _signed(verifier: Verifier, sender: Authenticated, response: Response) -> Response:
    """What goes out for a response. Raises NotSigned."""
    head = response.status_code, list(response.headers.items())
    answer = stand_in(verifier, sender, *head)
    if answer is None:
        body = bytearray()
        for part in response.iter_encoded():
            body += part
            see_length(len(body))
        answer = signed(verifier, sender, *head, body)
    ours = _response(answer)
    ours.call_on_close(response.close)
    return ours


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers)

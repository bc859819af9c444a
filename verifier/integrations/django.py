"""Signed requests in Django: `SignedPaths` around the application checks and signs, a decorator tells views who spoke.

    application = SignedPaths(get_wsgi_application(), verifier, authenticate=["/signals"], verify=["/v1/sync"])

    @authenticated
    def signals(request, sender):                            # request.body is what was authenticated
        return JsonResponse({"node": sender.key.node_id})    # goes out signed

    @verified
    async def sync(request, verified): ...                   # verified.message, verified.ticket

`SignedPaths` is from `verifier.integrations.wsgi`, with a Verifier, or from `verifier.integrations.asgi`, with an
AsyncVerifier, around `get_asgi_application()`. It is no entry of MIDDLEWARE: behind ASGI, Django has taken a body,
to disk if need be, before those see anything; and out here is signed what leaves. Views of both kinds stand behind
either. One refuses by raising `Refused`, and at a path that is not listed it fails without being reached.
`manage.py runserver` does not tell the raw request target, so all is refused there: take gunicorn or uvicorn.
"""

from __future__ import annotations

import functools
from asyncio import iscoroutinefunction
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

try:
    from django.http import HttpResponse
    from django.views.decorators.csrf import csrf_exempt
except ModuleNotFoundError as error:
    raise ImportError("this needs Django: pip install 'trading-node[django]'") from error

from node_protocol import refusals, strict_json
from node_protocol.refusals import PROBLEM_CONTENT_TYPE
from verifier.integrations._paths import Found, sender_in, sync_in

View: TypeAlias = Callable[..., Any]


def authenticated(view: View) -> View:
    """Hands the view, behind its request, the `Authenticated` sender. NotChecked is raised at a path not signed."""
    return _told(view, sender_in)


def verified(view: View) -> View:
    """Hands the view, behind its request, the `Verified` sync. NotChecked is raised at a path not in `verify`."""
    return _told(view, sync_in)


def _told(view: View, found_in: Callable[[Mapping[str, Any]], Found]) -> View:
    if iscoroutinefunction(view):

        @functools.wraps(view)
        async def waiting(request: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return await view(request, found_in(_outside(request)), *args, **kwargs)
            except refusals.Refused as refused:
                return _problem(refused)

    else:

        @functools.wraps(view)
        def waiting(request: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return view(request, found_in(_outside(request)), *args, **kwargs)
            except refusals.Refused as refused:
                return _problem(refused)

    # A signature says that nobody's browser was made to send this.
    exempt: View = csrf_exempt(waiting)
    return exempt


def _outside(request: Any) -> Mapping[str, Any]:
    """What the server handed in: the scope of ASGI, or the environ of WSGI."""
    outside: Mapping[str, Any] = getattr(request, "scope", None) or getattr(request, "environ", {})
    return outside


def _problem(refused: refusals.Refused) -> Any:
    """To be signed further out."""
    return HttpResponse(strict_json.dumps(refused.problem()), status=refused.status, content_type=PROBLEM_CONTENT_TYPE)

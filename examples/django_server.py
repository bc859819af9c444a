"""Django: `python -m examples.new_node nodes.json`, and then either of

gunicorn examples.django_server:wsgi --bind 127.0.0.1:8000
uvicorn examples.django_server:asgi
"""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from examples import backend
from node_protocol.messages import SyncRequest, encode, parse
from node_protocol.refusals import Refused
from verifier import AsyncVerifier, Authenticated, NodeKey, Verified, Verifier
from verifier.integrations import asgi as signed_asgi
from verifier.integrations import wsgi as signed_wsgi
from verifier.integrations.django import authenticated, verified

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=[backend.AUTHORITY.partition(":")[0]],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=secrets.token_urlsafe(),
    )


@authenticated
def signals(request: Any, sender: Authenticated) -> Any:
    """A JSON endpoint of your own, for nodes alone."""
    return JsonResponse(backend.keep_signal(sender.key.node_id, parse(backend.Signal, request.body)))


@verified
async def sync(_request: Any, verified: Verified) -> Any:
    """The nodes' channel."""
    return HttpResponse(encode(backend.keep_events(verified)), content_type="application/json")


urlpatterns = [path("signals", require_POST(signals)), path("v1/sync", require_POST(sync))]


async def find_key(key_id: str) -> NodeKey | None:
    """The key under a key id: in your server, out of its database."""
    return backend.KEYS.get(key_id)


async def objection(node_id: str, message: SyncRequest) -> Refused | None:
    """What our records say against a sync."""
    return backend.objection(node_id, message)


# Behind TLS leave `scheme` out; the authority is the name in the nodes' https:// address then.
wsgi = signed_wsgi.SignedPaths(
    get_wsgi_application(),
    Verifier(keys=backend.KEYS.get, store=backend.STORE, authorities=[backend.AUTHORITY], scheme="http"),
    authenticate=["/signals"],
    verify=["/v1/sync"],
    veto=backend.objection,
)
asgi = signed_asgi.SignedPaths(
    get_asgi_application(),
    AsyncVerifier(keys=find_key, store=backend.STORE, authorities=[backend.AUTHORITY], scheme="http"),
    authenticate=["/signals"],
    verify=["/v1/sync"],
    veto=objection,
)

"""The guard: lets a request go that is on the exchange's allowlist, and no other. Pure: it is asked before each byte.

It is asked three times, by different means, so that no one way round it is enough:

1. `call`, with the endpoint as ccxt names it, before anything is made of it;
2. `request`, with the address, headers and body as they are to be sent, signed and final;
3. `passed`, by the last hand on the socket, with what goes out: it must be what `request` has just let go.

Whatever is not understood is refused. An address is matched as text, whole, against the templates of the list: there is
no room in those for `..`, `%`, `//`, `#`, a user, a port or another scheme, so nothing has to be taken apart and put
together in the same way by everybody on the way. A WebSocket is not opened at all: no exchange needs one here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import unquote_plus, urlsplit

from node_agent.exchanges.allowlist import Allowlist, Endpoint
from node_agent.exchanges.port import OrderRefused
from node_protocol import strict_json
from node_protocol.refusals import Malformed

_COMMON_HEADERS: Final = frozenset(
    ("accept", "accept-encoding", "connection", "content-length", "content-type", "user-agent")
)
_QUERY: Final = re.compile(r"[A-Za-z0-9._~%&=+:,/@-]*", re.ASCII)
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_PLAIN: Final = re.compile(r"[.\[\]]")
_MOST_BODY: Final = 1 << 14
_WORDS: Final = 120


class Forbidden(OrderRefused):
    """The guard let it not go: nothing was sent, and nothing ever will be of this kind."""


class Guard:
    """Of one exchange."""

    def __init__(self, allowlist: Allowlist, *, origin: str | None = None) -> None:
        """`origin` is a stand-in for the exchange, such as `http://127.0.0.1:8080`.

        Raises ValueError for one that is not on this machine.
        """
        if origin is not None and not _on_loopback(urlsplit(origin).hostname or ""):
            raise ValueError(f"{origin} is not on loopback")
        self._exchange = allowlist.exchange
        self._body = allowlist.body
        self._headers = _COMMON_HEADERS | set(allowlist.headers)
        self._calls = {(each.method, each.call) for each in allowlist.allowed}
        self._templates = [(each.matcher(origin), each) for each in allowlist.allowed]

    def call(self, api: Any, method: str, path: str) -> None:
        """Raises Forbidden for an endpoint that is not on the list. `api` and `path` are ccxt's names."""
        name = api if isinstance(api, str) else ".".join(api)
        if (method, f"{name} {path}") not in self._calls:
            raise self._forbidden(f"{method} {name} {path}")

    def request(self, method: str, url: str, headers: Mapping[str, str] | None, body: str | bytes | None) -> None:
        """Raises Forbidden for a request that is not on the list, exactly as it is to be sent."""
        address, mark, query = url.partition("?")
        endpoint = self._endpoint(method, address)
        if endpoint is None:
            raise self._forbidden(f"{method} {address}")
        stray = sorted(name for name in headers or () if name.lower() not in self._headers)
        if stray:
            raise self._forbidden(f"{method} {address} with the header {stray[0]}")
        there = set()
        for name, value in self._pairs(query if mark else None, f"{method} {address}"):
            self._see(endpoint, endpoint.query, name, value, "query")
            there.add(name)
        for name, value in self._members(body, f"{method} {address}"):
            self._see(endpoint, endpoint.body, name, value, "body")
            there.add(name)
        missing = [name for name in endpoint.must if name not in there]
        if missing:
            raise self._forbidden(f"{method} {address} without {missing[0]}")

    def socket(self, url: str) -> NoReturn:
        """Raises Forbidden: no WebSocket is opened, and nothing is sent on one."""
        raise self._forbidden(f"a WebSocket to {url.partition('?')[0]}")

    def passed(self, sent: tuple[str, str], let_go: tuple[str, str] | None) -> None:
        """Raises Forbidden when what is about to be sent is not what was let go: method and address of each."""
        if sent != let_go:
            raise self._forbidden(f"{sent[0]} {sent[1].partition('?')[0]} behind the guard's back")

    def _endpoint(self, method: str, address: str) -> Endpoint | None:
        fitting = (each for matcher, each in self._templates if each.method == method and matcher.fullmatch(address))
        return next(fitting, None)

    def _see(self, endpoint: Endpoint, allowed: tuple[str, ...], name: str, value: str, where: str) -> None:
        if name not in allowed:
            raise self._forbidden(f"{endpoint.method} {endpoint.url} with {name} in its {where}")
        if name in endpoint.only and value not in endpoint.only[name]:
            raise self._forbidden(f"{endpoint.method} {endpoint.url} with another {name} than it may have")
        if name in endpoint.form and not re.fullmatch(endpoint.form[name], value, re.ASCII):
            raise self._forbidden(f"{endpoint.method} {endpoint.url} with another {name} than it may have")

    def _pairs(self, encoded: str | None, what: str) -> Iterator[tuple[str, str]]:
        """Names and values of a query, or of a form."""
        if encoded is None:
            return
        if not _QUERY.fullmatch(encoded) or _ESCAPE.search(encoded):
            raise self._forbidden(f"{what} with parameters that are not well written")
        seen = set()
        for pair in encoded.split("&"):
            name, mark, value = pair.partition("=")
            if not mark or name in seen:
                raise self._forbidden(f"{what} with parameters that are not well written")
            seen.add(name)
            yield name, unquote_plus(value)

    def _members(self, body: str | bytes | None, what: str) -> Iterator[tuple[str, str]]:
        """Names and values in a body."""
        if not body:
            return
        if self._body == "none" or len(body) > _MOST_BODY:
            raise self._forbidden(f"{what} with a body, or with one that is too long")
        if self._body == "form":
            yield from self._pairs(body if isinstance(body, str) else body.decode("latin-1"), what)
            return
        try:
            content = strict_json.loads(body if isinstance(body, bytes) else body.encode())
        except Malformed:
            raise self._forbidden(f"{what} with a body that is not well written") from None
        if not isinstance(content, Mapping):
            raise self._forbidden(f"{what} with a body that is no object")
        if content:
            yield from _flat("", content)

    def _forbidden(self, what: str) -> Forbidden:
        return Forbidden(f"not on the list of what may be asked of {self._exchange}, so not sent: {what[:_WORDS]}")


def _on_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value in a JSON body with where it stands; what stands in a list, which is no member itself, with `[]`."""
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            # A dot or a bracket in a name, or none at all, would make it look like a member of another.
            step = _NOT_PLAIN.sub("\ufffd", name) or "\ufffd"
            yield from _flat(f"{path}.{step}" if path else step, each)
    elif isinstance(value, list) and value:
        for each in value:
            yield from _flat(f"{path}[]", each)
    else:
        yield path, value if isinstance(value, str) else strict_json.dumps(value).decode()

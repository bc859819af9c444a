"""uvicorn, telling the request target as it was sent: `uvicorn.run(app, http=RawTarget)`.

uvicorn itself parses the target first, and a bare `?` and the authority of an absolute target are gone then: such a
request is taken for the one that was signed. That does no harm, but the protocol wants it refused, and so it is here.
"""

from __future__ import annotations

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ModuleNotFoundError as error:
    raise ImportError("this needs uvicorn and httptools: pip install uvicorn httptools") from error

from verifier.integrations.asgi_io import RAW_TARGET


class RawTarget(HttpToolsProtocol):
    """Hands over the request target as it was sent."""

    def on_headers_complete(self) -> None:
        """The head is whole."""
        extensions = {RAW_TARGET: self.url.decode("latin-1")}
        self.scope["extensions"] = extensions  # type: ignore[typeddict-item]  # an extension of our own
        super().on_headers_complete()

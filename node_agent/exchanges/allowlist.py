"""The list of what may be asked of an exchange, read from its file in `allowlists/`, which is written for a person.

Each entry is one endpoint: method, host and whole path, which parameters may go along, and why a node needs it. In a
path `{…}` stands for an id: letters, digits, `-` and `_` alone, so that no id can become a path. A parameter that may
have certain values alone is named with them under `only`, or with a pattern of them under `form`; one that may not be
missing under `must`. Members of a JSON body are named with their path, as `order.price`, and what stands in a list as
`order_ids[]`. What is wrong with a file is told when it is read, and nothing is sent.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

_FOLDER: Final = "allowlists"
_HOST: Final = r"[a-z0-9-]+(?:\.[a-z0-9-]+)+"
_SEGMENT: Final = r"(?:[A-Za-z0-9_.-]*[A-Za-z0-9_-]|\{[a-z_]+\})"
_URL: Final = re.compile(rf"https://{_HOST}(?:/{_SEGMENT})+/?", re.ASCII)
_PLACE: Final = re.compile(r"\{[a-z_]+\}")
_ID: Final = "[A-Za-z0-9_-]{1,128}"

Method = Literal["GET", "POST", "DELETE"]
Names = Annotated[tuple[str, ...], Field(strict=False)]


class AllowlistError(Exception):
    """An allowlist that cannot be used."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Endpoint(_Strict):
    """One thing that may be asked."""

    why: Annotated[str, Field(min_length=4)]
    method: Method
    url: str
    """Host and path; `{…}` stands for an id."""
    call: str | None = None
    """What ccxt calls it: its api, and its path with the places for ids. None where ccxt is not used."""
    acts: bool = False
    """Whether it places an order, or cancels one. All else is reading."""
    query: Names = ()
    """Parameters that may stand in the query."""
    body: Names = ()
    """Parameters that may stand in the body."""
    only: Annotated[Mapping[str, Names], Field(default_factory=dict)]
    """Of parameters that are restricted: the values that they may have."""

    form: Annotated[Mapping[str, str], Field(default_factory=dict)]
    """Of parameters of which not every value can be named: the form of those that they may have, as a pattern."""

    must: Names = ()
    """Parameters without which it does not go, for what the exchange takes in their place may be more."""

    @field_validator("url")
    @classmethod
    def _whole(cls, url: str) -> str:
        if not _URL.fullmatch(url):
            raise ValueError("must be https, a host, and a plain path in which {…} stands for an id")
        return url

    @field_validator("form")
    @classmethod
    def _patterns(cls, form: Mapping[str, str]) -> Mapping[str, str]:
        for pattern in form.values():
            try:
                re.compile(pattern, re.ASCII)
            except re.error:
                raise ValueError(f"{pattern} is no pattern") from None
        return form

    @property
    def host(self) -> str:
        """Where it is asked."""
        return self.url.removeprefix("https://").partition("/")[0]

    def matcher(self, origin: str | None = None) -> re.Pattern[str]:
        """Matches its address as it is sent, without a query. `origin` is a stand-in for the exchange."""
        url = self.url if origin is None else origin + self.url.removeprefix(f"https://{self.host}")
        parts = _PLACE.split(url)
        return re.compile(_ID.join(re.escape(part) for part in parts), re.ASCII)


class Allowlist(_Strict):
    """What may be asked of one exchange."""

    exchange: str
    body: Literal["none", "form", "json"]
    """How the bodies of requests are written."""
    headers: Names
    """Headers of the exchange's own that go along, in lower case."""
    allowed: Annotated[tuple[Endpoint, ...], Field(strict=False)]


def read(exchange: str) -> Allowlist:
    """The allowlist of an exchange, from its file. Raises AllowlistError."""
    try:
        text = (resources.files("node_agent.exchanges") / _FOLDER / f"{exchange}.toml").read_text("utf-8")
    except OSError:
        raise AllowlistError(f"there is no allowlist for {exchange}") from None
    return parse(exchange, text)


def parse(exchange: str, text: str) -> Allowlist:
    """An allowlist from its text. Raises AllowlistError."""
    try:
        allowlist = Allowlist.model_validate(tomllib.loads(text))
    except (ValueError, ValidationError) as error:
        raise AllowlistError(f"the allowlist of {exchange} cannot be read: {error}") from None
    if allowlist.exchange != exchange:
        raise AllowlistError(f"the allowlist of {exchange} is one of {allowlist.exchange}")
    for endpoint in allowlist.allowed:
        stray = {*endpoint.only, *endpoint.form, *endpoint.must} - {*endpoint.query, *endpoint.body}
        if stray:
            raise AllowlistError(
                f"{exchange}: {endpoint.method} {endpoint.url}: {', '.join(sorted(stray))} is not sent"
            )
    return allowlist

"""`control-plane health`: whether a server can judge requests, for a container's health check: quick, an exit code.

It asks as anybody could, and needs neither the database nor a key: that a server answers is the point.
"""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

import click

from control_plane.cli.errors import CliError, Exit

_MOST: Final = 4096
"""Bytes of an answer that are looked at."""


@click.command(
    "health",
    help="""Tell whether a server is ready: exit code 0 if so, else 1, and a line that says what is wrong.

    Ready is a server that answers, and that its database answers, and its Redis if it has one.
    """,
)
@click.option(
    "--url",
    default="http://127.0.0.1:8099/readyz",
    show_default=True,
    help="Where it says so: /readyz at the address that it listens on.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=600),
    default=5.0,
    show_default=True,
    help="How many seconds an answer is waited for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(url: str, timeout: float, as_json: bool) -> None:
    problem = _problem(url, timeout)
    if as_json:
        click.echo(json.dumps({"ready": problem is None, "problem": problem}))
    elif problem is None:
        click.echo("ready")
    if problem is not None:
        raise CliError(f"the server at {url} is not ready: {problem}")


def _problem(url: str, timeout: float) -> str | None:
    """What is wrong, if anything. Raises CliError for what is no URL."""
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    except (KeyError, ValueError, HTTPException):
        raise CliError(f"{url} is no URL such as http://127.0.0.1:8099/readyz", exit_code=Exit.USAGE) from None
    try:
        connection.request("GET", parts.path or "/", headers={"accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read(_MOST)
    except (OSError, HTTPException) as error:
        return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
    finally:
        connection.close()
    if answer.status == 200:
        return None
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status}"
    return str(detail)

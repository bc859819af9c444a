"""`node-agent fingerprint`: what this machine can be known by, and what would make it better known. No raw value."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from node_agent import fingerprint as machine
from node_agent.cli import options
from node_agent.cli.errors import CliError
from node_agent.journal import JOURNAL_FILE, Journal, JournalError, JournalMissing, Registration
from node_protocol import fingerprints
from node_protocol.encoding import b64url_decode


class _About(NamedTuple):
    """What an owner wants to know of a component."""

    lasts: str
    to_have_it: str | None = None


_ABOUT: Final = {
    "machine_id": _About(
        "until the system is installed anew", "in a container, add -v /etc/machine-id:/etc/machine-id:ro"
    ),
    "storage": _About(
        "as long as the data directory is not made anew, moved or restored",
        "name the node's directory with --data-dir; in a container, a volume: -v node:/data",
    ),
    "disk": _About("until a built-in disk is added, taken out or given another size"),
    "cpu": _About("until there is another processor, or another number of them"),
    "board": _About("until there is another mainboard"),
    "pci": _About("until a card or a dock is added or taken out"),
    "memory": _About("until there is more or less memory"),
    "boot": _About("until the next boot; counts nothing, and tells that two nodes run under one kernel"),
}
_PROMISE: Final = "no raw serial leaves this machine: a server gets 22 characters of a keyed hash for each component"


@click.command(
    help="""Show what a server can know this machine by: each component, its weight of 100, how long it lasts, or why
    it is missing and what would bring it.

    A server compares two fingerprints by the components that both have, and gives a verdict from a weight of 35 on;
    with less it goes by the tickets alone, and the exit code is 1. No raw value is shown. Once the node is registered,
    each component is shown as its server knows it, for its operator to compare.

    Works before `init` and while the node runs.
    """
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="NODE_DATA_DIR",
    show_envvar=True,
    help="The node's own directory; without it, all but `storage` is told.",
)
@options.as_json
def fingerprint(data_dir: Path | None, as_json: bool) -> None:
    try:
        registration = _registration(data_dir)
    except JournalError as error:
        raise CliError(error.message, *error.hints) from error
    began = time.perf_counter()
    found = machine.examine(data_dir)
    seconds = time.perf_counter() - began
    facts = _facts(found, registration) | {"seconds": round(seconds, 6)}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        for line in _lines(facts):
            click.echo(line)
    if not facts["enough"]:
        missing = [each for each in facts["components"] if not each["found"] and each["to_have_it"]]
        raise CliError(
            f"found {facts['weight']} of {facts['of']}, and a verdict needs {facts['needed']}",
            *(f"{each['name']}: {each['to_have_it']}" for each in missing),
        )


def _registration(data_dir: Path | None) -> Registration | None:
    """With which server's salt the components are shown; None when there is none yet. Raises JournalError."""
    if data_dir is None:
        return None
    try:
        with Journal.open_read_only(data_dir / JOURNAL_FILE) as journal:
            return journal.registration()
    except JournalMissing:
        return None


def _facts(found: dict[str, machine.Finding], registration: Registration | None) -> dict[str, Any]:
    raw = {name: each.value for name, each in found.items() if each.value is not None}
    weight = sum(fingerprints.WEIGHTS[name] for name in raw)
    salted = {} if registration is None else machine.salted(raw, _salt(registration))
    return {
        "components": [
            {
                "name": name,
                "weight": fingerprints.WEIGHTS[name],
                "found": name in raw,
                "lasts": _ABOUT[name].lasts,
                "why_missing": each.why_missing or None,
                "to_have_it": None if name in raw else _ABOUT[name].to_have_it,
                "salted": salted.get(name),
            }
            for name, each in found.items()
        ],
        "weight": weight,
        "of": sum(fingerprints.WEIGHTS.values()),
        "needed": fingerprints.ENOUGH,
        "enough": weight >= fingerprints.ENOUGH,
        "server": registration and registration.server,
        "salt_id": registration and registration.salt_id,
        "digest": registration and fingerprints.digest(salted),
    }


def _salt(registration: Registration) -> bytes:
    return b64url_decode(registration.salt, length=len(registration.salt) * 3 // 4)


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    for each in facts["components"]:
        state = "found" if each["found"] else "missing"
        salted = f"{each['salted'] or '':<24}" if facts["server"] else ""
        said = f"lasts {each['lasts']}" if each["found"] else each["why_missing"]
        yield f"{each['name']:<12}{each['weight']:>3}  {state:<9}{salted}{said}"
        if each["to_have_it"]:
            yield f"{'':<26}{'':<{len(salted)}}{each['to_have_it']}"
    verdict = "enough" if facts["enough"] else "too little"
    yield f"{'found':<12}{facts['weight']:>3}  of {facts['of']}; a verdict needs {facts['needed']}: {verdict}"
    if facts["server"]:
        yield f"{'digest':<17}{facts['digest']}, as {facts['server']} knows this machine"
    yield f"{'collected':<17}in {facts['seconds'] * 1000:.1f} ms; {_PROMISE}"

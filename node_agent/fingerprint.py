"""The machine's fingerprint: each component of it, or why it is not there; raw here, salted before it leaves.

How a component is read is `machine_facts`; what each is worth is `node_protocol.fingerprints`, and docs/fingerprint.md
tells its owner. A raw value is never sent, logged or shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node_agent import machine_facts
from node_agent.machine_facts import Missing
from node_protocol import fingerprints

_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class Finding:
    """One component of this machine."""

    value: str | None = field(default=None, repr=False)
    """Raw; None when it is missing."""
    why_missing: str = ""


def examine(data_dir: Path | None, root: Path = _ROOT, system: str = sys.platform) -> dict[str, Finding]:
    """Every component by its name, in the order of their weights. `root` stands for `/`."""
    if system == "linux":
        readers = machine_facts.readers(root)
    else:
        from node_agent import machine_facts_elsewhere  # noqa: PLC0415  (nothing of it is needed on Linux)

        readers = machine_facts_elsewhere.readers(system)
    found = {}
    for name in fingerprints.WEIGHTS:
        try:
            if name == "storage":
                found[name] = Finding(_storage(data_dir))
            elif name in readers:
                found[name] = Finding(readers[name]())
            else:
                found[name] = Finding(why_missing="this system does not tell")
        except Missing as missing:
            found[name] = Finding(why_missing=str(missing))
    return found


def collect(data_dir: Path, root: Path = _ROOT) -> dict[str, str]:
    """The components that are there, raw: for salting, and for nothing else."""
    return {name: each.value for name, each in examine(data_dir, root).items() if each.value is not None}


def salted(components: Mapping[str, str], salt: bytes) -> dict[str, str]:
    """The components as they may leave the machine."""
    return {name: fingerprints.salted(salt, name, value) for name, value in components.items()}


def _storage(data_dir: Path | None) -> str:
    """File system id and inode of the data directory: of the volume, which outlives the container."""
    if data_dir is None:
        raise Missing("no data directory was named")
    try:
        about = data_dir.stat()
        # Windows has no statvfs, and its device number is the volume's serial number.
        volume = os.statvfs(data_dir).f_fsid if hasattr(os, "statvfs") else about.st_dev
    except FileNotFoundError:
        raise Missing(f"there is no {data_dir}") from None
    except OSError as error:
        raise Missing(f"{data_dir}: {(error.strerror or '').lower()}") from None
    if not volume:  # a network's or a user's file system: the inode alone is that of a thousand others
        raise Missing(f"the file system of {data_dir} has no id")
    return f"{volume}:{about.st_ino}"

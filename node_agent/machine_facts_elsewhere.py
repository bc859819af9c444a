"""How the facts of a machine that has no /proc and /sys are read: on macOS, and what of it any other system tells.

py-cpuinfo takes a second and psutil is no small import, so both are loaded where there is no other way. No reader makes
a boot id out of the time of the boot: clocks are corrected, and two machines can be switched on in one second.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Final

from node_agent.machine_facts import Missing, whole_gib
from node_protocol import fingerprints

_REGISTRY: Final = ("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
_BOOT_SESSION: Final = ("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")
_CPU: Final = ("vendor_id_raw", "brand_raw", "family", "model", "count", "arch_string_raw")
_SECONDS: Final = 5


def readers(system: str) -> Mapping[str, Callable[[], str]]:
    """By component, what reads it on a system of this name (of `sys.platform`). Each raises Missing."""
    found: dict[str, Callable[[], str]] = {"cpu": cpu, "memory": memory}
    if system == "darwin":
        found |= {"machine_id": machine_id, "boot": boot}
    return found


def machine_id(command: Sequence[str] = _REGISTRY) -> str:
    """The UUID that Apple gave the machine."""
    match = re.search(r'"IOPlatformUUID" = "([^"]+)"', _said(command))
    return _useful(match[1] if match else "", command)


def boot(command: Sequence[str] = _BOOT_SESSION) -> str:
    """The kernel's own id of this boot."""
    return _useful(_said(command).strip(), command)


@cache
def cpu() -> str:
    """Model, family, count and architecture; no clock rate. Asked once a process."""
    found: Mapping[str, Any] = import_module("cpuinfo").get_cpu_info()
    facts = [f"{name}={found[name]}" for name in _CPU if not fingerprints.is_junk(str(found.get(name, "")))]
    if not facts:
        raise Missing("the system names no processor")
    return "\n".join(facts)


def memory() -> str:
    """All memory, in whole GiB."""
    return whole_gib(import_module("psutil").virtual_memory().total // 1024)


def _useful(value: str, command: Sequence[str]) -> str:
    if fingerprints.is_junk(value):
        raise Missing(f"{command[0]} tells none")
    return value


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True)  # noqa: S603  (ours)
    except (OSError, subprocess.SubprocessError):
        raise Missing(f"{command[0]} does not answer") from None
    return done.stdout.decode(errors="replace")

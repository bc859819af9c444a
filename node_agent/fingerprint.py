"""Facts of the machine, as an unprivileged, read-only container sees them: read here, salted before they leave.

What cannot be read is left out, and so is what makers leave in place of a serial. `root` stands for `/`, so that a test
can plant values; nothing raw is ever sent or logged.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from node_protocol import fingerprints

_GIB: Final = 1024**3
_ROOT: Final = Path("/")
_BOARD: Final = ("sys_vendor", "product_name", "board_vendor", "board_name", "bios_vendor")
_CPU: Final = ("vendor_id", "model name", "cpu family", "model", "CPU implementer", "CPU part", "Hardware")
_VIRTUAL_DISKS: Final = re.compile(r"(loop|ram|zram|dm-|md|nbd|sr|fd)\d*")


def collect(data_dir: Path, root: Path = _ROOT) -> dict[str, str]:
    """The machine's components by name, raw: for salting, and for nothing else."""
    found = {
        "machine_id": _text(root / "etc/machine-id"),
        "storage": _storage(data_dir),
        "disk": _disks(root / "sys/block"),
        "cpu": _cpu(root / "proc/cpuinfo"),
        "board": _joined(_text(root / "sys/class/dmi/id" / name) for name in _BOARD),
        "pci": _pci(root / "sys/bus/pci/devices"),
        "memory": _memory(root / "proc/meminfo"),
        "boot": _text(root / "proc/sys/kernel/random/boot_id"),
    }
    return {name: value for name, value in found.items() if value is not None}


def salted(components: Mapping[str, str], salt: bytes) -> dict[str, str]:
    """The components as they may leave the machine."""
    return {name: fingerprints.salted(salt, name, value) for name, value in components.items()}


def _text(path: Path) -> str | None:
    """A small file's text; None when it cannot be read or says nothing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return None if fingerprints.is_junk(text) else text


def _joined(values: Iterator[str | None]) -> str | None:
    known = [value for value in values if value is not None]
    return "\n".join(known) if known else None


def _storage(data_dir: Path) -> str | None:
    """File system id and inode: of the volume, which outlives the container."""
    try:
        return f"{os.statvfs(data_dir).f_fsid}:{data_dir.stat().st_ino}"
    except OSError:
        return None


def _disks(block: Path) -> str | None:
    """Sizes and serials of the disks that are hardware."""
    try:
        names = sorted(each.name for each in block.iterdir() if not _VIRTUAL_DISKS.fullmatch(each.name))
    except OSError:
        return None
    lines = []
    for name in names:
        facts = (
            _text(block / name / "size"),
            _text(block / name / "device/serial"),
            _text(block / name / "device/wwid"),
        )
        if any(facts):
            lines.append(":".join(fact or "" for fact in facts))
    return "\n".join(sorted(lines)) or None


def _cpu(cpuinfo: Path) -> str | None:
    """Model, family, count and architecture; no clock rate, no microcode: those change."""
    text = _text(cpuinfo)
    if text is None:
        return None
    first = dict(_pair(line) for line in text.split("\n\n", 1)[0].splitlines())
    count = sum(1 for line in text.splitlines() if line.startswith("processor"))
    facts = [f"{name}={first[name]}" for name in _CPU if name in first]
    return "\n".join([*facts, f"count={count}", f"architecture={platform.machine()}"])


def _pci(devices: Path) -> str | None:
    try:
        ids = sorted(f"{_text(each / 'vendor')}:{_text(each / 'device')}" for each in devices.iterdir())
    except OSError:
        return None
    return "\n".join(ids) or None


def _memory(meminfo: Path) -> str | None:
    """Total memory in whole GiB: the kernel's own share changes with its version."""
    text = _text(meminfo)
    match = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE) if text is not None else None
    return None if match is None else f"{round(int(match[1]) * 1024 / _GIB)}"


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()

"""How the facts of a machine that runs Linux are read, from /proc and /sys, as a container without rights sees them.

What only root can read is not asked for: a node is the same machine whoever starts it. `root` stands for `/`, so that
a test can plant values. A reader gives a raw value, which is for salting and for nothing else, or raises Missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from node_protocol import fingerprints

_MOST: Final = 4096
"""Characters of a small file; none that is meant to be read here has more."""
_KIB_PER_GIB: Final = 1024**2
_MACHINE_ID: Final = "etc/machine-id"
_BLOCK: Final = "sys/block"
_CPUINFO: Final = "proc/cpuinfo"
_DMI: Final = "sys/class/dmi/id"
_PCI: Final = "sys/bus/pci/devices"
_MEMINFO: Final = "proc/meminfo"
_BOARD: Final = ("sys_vendor", "product_name", "board_vendor", "board_name", "bios_vendor")
_CPU: Final = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
_SERIALS: Final = ("serial", "device/serial", "wwid", "device/wwid")
_LAYERED: Final = ("overlay", "overlayfs", "aufs")
"""How the types of file system end that an image is unpacked in: `fuse.fuse-overlayfs` is one of them."""
_MARKS: Final = (".dockerenv", "run/.containerenv")
"""What Docker and Podman put into a container, also where its layers are of btrfs or ZFS, as a host's own may be."""


class Missing(Exception):
    """Why a fact cannot be had, in words for the owner. Holds no raw value."""


def readers(root: Path) -> Mapping[str, Callable[[], str]]:
    """By component, what reads it. Each raises Missing."""
    return {
        "machine_id": lambda: _machine_id(root),
        "disk": lambda: _disks(root),
        "cpu": lambda: _cpu(root),
        "board": lambda: _board(root),
        "pci": lambda: _pci(root),
        "memory": lambda: _memory(root),
        "boot": lambda: _text(root, "proc/sys/kernel/random/boot_id"),
    }


def whole_gib(kib: int) -> str:
    """Memory in GiB, rounded up: the kernel keeps some for itself, and a newer one another share."""
    return str(-(-kib // _KIB_PER_GIB))


def _machine_id(root: Path) -> str:
    """The host's. Images there are that bring one along, and every container of theirs in the world has that one."""
    value = _text(root, _MACHINE_ID)
    if _in_a_layer(root, f"/{_MACHINE_ID}"):
        raise Missing(f"/{_MACHINE_ID} is the image's own, not the host's")
    return value


def _in_a_layer(root: Path, file: str) -> bool:
    """Whether a file belongs to a container's own root file system: nothing of the host's is mounted over it."""
    holders = {file, *map(str, Path(file).parents)}
    holder = kind = ""
    for line in _lines(root, "proc/self/mountinfo"):
        mount, _, source = line.partition(" - ")
        point = mount.split(" ")[4]
        if point in holders and len(point) >= len(holder):
            holder, kind = point, source.split(" ")[0]
    return holder == "/" and (kind.endswith(_LAYERED) or any((root / mark).exists() for mark in _MARKS))


def _disks(root: Path) -> str:
    """Size and serial of each disk that is built in: no loop device, no stick, nothing behind a USB port."""
    known = set()  # what can be reached in two ways is one disk
    for each in _names(root, _BLOCK):
        disk = f"{_BLOCK}/{each}"
        if not os.path.exists(root / disk / "device") or _known(root, f"{disk}/removable") == "1":
            continue
        if _is_usb(root / disk):
            continue
        size = _known(root, f"{disk}/size")
        serial = next(filter(None, (_known(root, f"{disk}/{name}") for name in _SERIALS)), None)
        if size or serial:
            known.add(f"{size or ''}:{serial or ''}")
    return _joined(known, f"no disk shows under /{_BLOCK}")


def _is_usb(disk: Path) -> bool:
    try:
        return re.search(r"/usb\d", os.readlink(disk)) is not None
    except OSError:
        return False


def _cpu(root: Path) -> str:
    """Model, family, count and architecture of the first processor; no clock rate, no microcode: those change."""
    facts = {}
    with _reading(root, _CPUINFO) as file:
        for line in file:  # the kernel makes the text while it is read: no more of it than one processor's
            name, colon, value = line.partition(":")
            if not colon:
                break
            facts[name.strip()] = value.strip()
    known = [f"{name}={facts[name]}" for name in _CPU if not fingerprints.is_junk(facts.get(name, ""))]
    if not known:
        raise Missing(f"/{_CPUINFO} names no model")
    count = next(_lines(root, "sys/devices/system/cpu/present"), "").strip()
    return "\n".join([*known, f"present={count}", f"architecture={os.uname().machine}"])


def _board(root: Path) -> str:
    known = {name: _known(root, f"{_DMI}/{name}") for name in _BOARD}
    return _joined((f"{name}={value}" for name, value in known.items() if value), f"nothing shows under /{_DMI}")


def _pci(root: Path) -> str:
    devices = [f"{_PCI}/{each}" for each in _names(root, _PCI)]
    ids = [(_known(root, f"{device}/vendor"), _known(root, f"{device}/device")) for device in devices]
    return _joined((f"{vendor}:{device}" for vendor, device in ids if vendor and device), f"no device under /{_PCI}")


def _memory(root: Path) -> str:
    for line in _lines(root, _MEMINFO):
        if match := re.match(r"MemTotal:\s+([1-9]\d*) kB", line):
            return whole_gib(int(match[1]))
    raise Missing(f"/{_MEMINFO} tells no total")


def _text(root: Path, name: str) -> str:
    """A small file's text, unless it is what makers leave in place of one."""
    with _reading(root, name) as file:
        text = file.read(_MOST).strip()
    if fingerprints.is_junk(text):
        raise Missing(f"/{name} is empty or a placeholder")
    return text


def _known(root: Path, name: str) -> str | None:
    try:
        return _text(root, name)
    except Missing:
        return None


def _lines(root: Path, name: str) -> Iterator[str]:
    """A file's lines; none when it cannot be read."""
    try:
        with _reading(root, name) as file:
            yield from file
    except Missing:
        return


def _names(root: Path, name: str) -> list[str]:
    """What is in a directory; nothing when it cannot be read."""
    try:
        return os.listdir(root / name)
    except OSError:
        return []


def _joined(values: Iterable[str], otherwise: str) -> str:
    """The values in one order, whatever order the kernel has found them in."""
    text = "\n".join(sorted(values))
    if not text:
        raise Missing(otherwise)
    return text


@contextmanager
def _reading(root: Path, name: str) -> Iterator[IO[str]]:
    try:
        with (root / name).open(encoding="utf-8", errors="replace") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise Missing(f"there is no /{name}") from None
    except OSError as error:
        raise Missing(f"/{name}: {(error.strerror or '').lower()}") from None

"""The collector: what a container really shows, planted under a root of our own, and nothing raw in what leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent import fingerprint
from node_protocol.fingerprints import WEIGHTS

SERIAL = "SERIAL-CANARY-1"
CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 106
model name\t: Xeon
microcode\t: 0x1
cpu MHz\t\t: {mhz}

processor\t: 1
vendor_id\t: GenuineIntel
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "etc/machine-id": "0123456789abcdef0123456789abcdef",
        "proc/cpuinfo": CPUINFO.format(mhz="2000.1"),
        "proc/meminfo": "MemTotal:       24633636 kB\nMemFree: 1 kB",
        "proc/sys/kernel/random/boot_id": "1e9a8d4e-0000-4000-8000-000000000001",
        "sys/block/nvme0n1/size": "1000215216",
        "sys/block/nvme0n1/device/serial": SERIAL,
        "sys/block/loop0/size": "8",
        "sys/class/dmi/id/sys_vendor": "Maker",
        "sys/class/dmi/id/product_name": "To be filled by O.E.M.",
        "sys/bus/pci/devices/0000:00:00.0/vendor": "0x8086",
        "sys/bus/pci/devices/0000:00:00.0/device": "0x1237",
    }
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    return tmp_path / "root"


def test_every_component_is_found_where_it_is_shown(root: Path, tmp_path: Path) -> None:
    found = fingerprint.collect(tmp_path, root)
    assert found.keys() == WEIGHTS.keys()
    assert found["board"] == "Maker"
    assert found["memory"] == "23"
    assert "count=2" in found["cpu"]
    assert SERIAL in found["disk"]


def test_what_changes_by_itself_is_not_in_it(root: Path, tmp_path: Path) -> None:
    before = fingerprint.collect(tmp_path, root)
    (root / "proc/cpuinfo").write_text(CPUINFO.format(mhz="3999.9").replace("0x1", "0x2"))
    (root / "proc/meminfo").write_text("MemTotal:       24633000 kB")
    (root / "sys/block/loop0/size").write_text("16")
    assert fingerprint.collect(tmp_path, root) == before


def test_what_cannot_be_read_or_says_nothing_is_left_out(root: Path, tmp_path: Path) -> None:
    (root / "etc/machine-id").unlink()
    (root / "proc/sys/kernel/random/boot_id").write_text("00000000-0000-0000-0000-000000000000")
    (root / "sys/class/dmi/id/sys_vendor").write_text("\n")
    found = fingerprint.collect(tmp_path, root)
    assert not {"machine_id", "boot", "board"} & found.keys()
    assert "" not in found.values()
    assert fingerprint.collect(tmp_path / "gone", tmp_path / "nothing") == {}


def test_two_directories_are_two_storages(root: Path, tmp_path: Path) -> None:
    assert fingerprint.collect(tmp_path, root)["storage"] != fingerprint.collect(root, root)["storage"]


def test_nothing_raw_is_in_what_leaves(root: Path, tmp_path: Path) -> None:
    raw = fingerprint.collect(tmp_path, root)
    leaves = json.dumps(fingerprint.salted(raw, b"salt" * 8))
    for canary in (SERIAL, "0123456789abcdef", "GenuineIntel", "Maker", "1e9a8d4e"):
        assert canary not in leaves
    assert fingerprint.salted(raw, b"salt" * 8) != fingerprint.salted(raw, b"pepper" * 6)

"""Machines of the tests' own, as files under a directory; and `node-agent` as a process that takes it for `/`.

python -m tests.node.planted ROOT COMMAND ...
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from node_agent import cli, fingerprint
from tests.support import WITHIN, NodeDir, NodeProcess, environment

CPU: Final = """\
processor\t: 0
vendor_id\t: CanaryVendor
cpu family\t: 6
model\t\t: 106
model name\t: Canary Processor 9000
microcode\t: 0x1
cpu MHz\t\t: 2000.1

processor\t: 1
vendor_id\t: CanaryVendor
cpu family\t: 6
"""
CONTAINER: Final[Mapping[str, str]] = {
    "etc/hostname": "f985909d01ef\n",
    "proc/cpuinfo": CPU,
    "proc/meminfo": "MemTotal:       24633636 kB\nMemFree:            1 kB\n",
    "proc/sys/kernel/random/boot_id": "1e9a8d4e-0c57-4000-8000-ca0a51ba0001\n",
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": """\
74 50 0:39 / / ro,relatime master:2 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/diff,workdir=/work
75 74 0:42 / /proc rw,nosuid - proc proc rw
78 74 0:45 / /sys ro,nosuid - sysfs sysfs ro
""",
    "sys/class/net/eth0/address": "02:42:ac:11:00:02\n",
    "sys/devices/system/cpu/present": "0-1\n",
    "sys/bus/pci/devices/0000:00:00.0/vendor": "0xca7a\n",
    "sys/bus/pci/devices/0000:00:00.0/device": "0x1237\n",
    "sys/bus/pci/devices/0000:00:02.0/vendor": "0xca7a\n",
    "sys/bus/pci/devices/0000:00:02.0/device": "0x0d57\n",
}
"""What Docker shows a process without capabilities, its root file system read-only. Disks come on top."""
HOST: Final = {
    **CONTAINER,
    "etc/machine-id": "c0ffee00c0ffee11c0ffee22c0ffee33\n",
    "proc/self/mountinfo": "27 1 254:0 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n",
    "sys/class/dmi/id/sys_vendor": "Canary Machines\n",
    "sys/class/dmi/id/product_name": "Canary Box 7\n",
    "sys/class/dmi/id/board_vendor": "Canary Boards\n",
    "sys/class/dmi/id/bios_vendor": "Canary Firmware\n",
    "sys/class/dmi/id/product_serial": "CANARY-FOR-ROOT-ALONE\n",
}
"""The same, outside of a container."""
NVME: Final = {"size": "1000215216\n", "removable": "0\n", "device/serial": "CANARY-NVME-SERIAL\n"}


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """The files under `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def plant_disk(root: Path, name: str, bus: str, files: Mapping[str, str]) -> None:
    """A disk as the kernel shows it: a link to where it hangs on the machine."""
    home = f"sys/devices/{bus}/block/{name}"
    plant(root, {f"{home}/{file}": text for file, text in files.items()})
    if not bus.startswith("virtual"):
        (root / home / "device").mkdir(exist_ok=True)
    (root / "sys/block").mkdir(exist_ok=True)
    (root / "sys/block" / name).symlink_to(f"../../{home}")


def machine(root: Path, files: Mapping[str, str] = HOST) -> Path:
    """A machine with one disk, and what else shows beside it."""
    plant(root, files)
    plant_disk(root, "nvme0n1", "pci0000:00/0000:00:02.0/nvme/nvme0", NVME)
    plant_disk(root, "loop0", "virtual", {"size": "8\n", "removable": "0\n"})
    return root


def planted_agent(root: Path, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """`node-agent` on that machine, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tests.node.planted", str(root), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
        env=environment(**environ),
    )


class PlantedProcess(NodeProcess):
    """`node-agent run` on that machine."""

    def __init__(self, root: Path, node: NodeDir, **environ: str) -> None:
        super().__init__(node, **environ)
        self._command[2:3] = ["tests.node.planted", str(root)]


def _main() -> None:
    root = Path(sys.argv.pop(1))
    fingerprint.examine.__defaults__ = (root, sys.platform)
    fingerprint.collect.__defaults__ = (root,)
    cli.main()


if __name__ == "__main__":
    _main()

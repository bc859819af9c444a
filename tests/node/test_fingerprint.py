"""The collector, on machines planted as container, host and virtual machine show themselves, and what changes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from node_agent import fingerprint, machine_facts_elsewhere
from node_agent.machine_facts import Missing
from node_protocol.fingerprints import ENOUGH, WEIGHTS
from tests.node.planted import CONTAINER, CPU, HOST, NVME, machine, plant, plant_disk

PAGE = Path(__file__).parent.parent.parent / "docs/fingerprint.md"
SYSFS_JUNK = ["To be filled by O.E.M.\n", "Default string\n", "\n", "00000000\n", "FFFF-FFFF\n"]


def shown(root: Path, *names: str) -> str:
    """Why each of these is missing."""
    found = fingerprint.examine(root, root)
    assert not [name for name in names if found[name].value]
    return "; ".join(found[name].why_missing for name in names)


def weight(components: dict[str, str]) -> int:
    return sum(WEIGHTS[name] for name in components)


def test_a_host_shows_every_component(tmp_path: Path) -> None:
    found = fingerprint.collect(tmp_path, machine(tmp_path))
    assert list(found) == list(WEIGHTS)
    assert (found["memory"], found["disk"]) == ("24", "1000215216:CANARY-NVME-SERIAL")
    assert "ROOT-ALONE" not in str(found)


def test_a_container_without_rights_shows_enough_for_a_verdict(tmp_path: Path) -> None:
    found = fingerprint.collect(tmp_path, machine(tmp_path, CONTAINER))
    assert found.keys() == WEIGHTS.keys() - {"machine_id", "board"}
    assert ENOUGH < weight(found) == 62
    assert shown(tmp_path, "machine_id") == "there is no /etc/machine-id"


def test_a_container_is_the_host_that_it_runs_on(tmp_path: Path) -> None:
    host = fingerprint.collect(tmp_path, machine(tmp_path / "host"))
    inside = fingerprint.collect(tmp_path, machine(tmp_path / "inside", CONTAINER))
    assert inside.items() <= host.items()


def test_a_virtual_machine_s_disk_is_known_by_the_serial_that_it_is_given(tmp_path: Path) -> None:
    files = {"etc/machine-id": HOST["etc/machine-id"], "sys/class/dmi/id/sys_vendor": "QEMU\n"}
    plant(tmp_path, {**CONTAINER, **files, "proc/self/mountinfo": HOST["proc/self/mountinfo"]})
    plant_disk(tmp_path, "vda", "pci0000:00/0000:00:02.0/virtio1", {"size": "536870912", "serial": "vol-0c57"})
    plant_disk(tmp_path, "dm-0", "virtual", {"size": "4096"})
    found = fingerprint.collect(tmp_path, tmp_path)
    assert found["disk"] == "536870912:vol-0c57"
    assert found["board"] == "sys_vendor=QEMU"


@pytest.mark.parametrize("junk", SYSFS_JUNK)
def test_what_makers_leave_in_place_of_a_value_is_left_out(tmp_path: Path, junk: str) -> None:
    root = machine(tmp_path)
    plant(root, {name: junk for name in HOST if "dmi" in name})
    plant(root, dict.fromkeys(("etc/machine-id", "proc/sys/kernel/random/boot_id"), junk))
    plant(root, {"sys/block/nvme0n1/device/serial": junk})
    found = fingerprint.collect(tmp_path, root)
    assert not {"machine_id", "board", "boot"} & found.keys()
    assert found["disk"] == "1000215216:"
    assert "placeholder" in shown(root, "machine_id")


def test_nothing_that_cannot_be_read_is_sent_empty(tmp_path: Path) -> None:
    assert fingerprint.collect(tmp_path / "gone", tmp_path / "nothing") == {}
    bare = plant(tmp_path, {"proc/cpuinfo": "processor\t: 0\n", "proc/meminfo": "MemTotal: 0 kB\n"})
    plant_disk(bare, "sda", "pci0000:00/ata1", {"size": "0"})
    plant(bare, {"sys/bus/pci/devices/0000:00:00.0/vendor": "0x8086"})
    (bare / "etc/machine-id").mkdir(parents=True)
    assert fingerprint.collect(tmp_path / "gone", bare) == {}
    assert "/etc/machine-id: is a directory" in shown(bare, "machine_id")


def stick(root: Path) -> None:
    plant_disk(root, "sda", "pci0000:00/0000:00:14.0/usb2/2-1/host2", {"size": "62500000", "removable": "0"})


def card_reader(root: Path) -> None:
    plant_disk(root, "sdb", "pci0000:00/0000:00:15.0/mmc", {"size": "62500000", "removable": "1"})


def second_path(root: Path) -> None:
    plant_disk(root, "nvme0c1n1", "pci0000:00/0000:00:03.0/nvme/nvme1", NVME)


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda root: plant(root, {name: text})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(write("proc/cpuinfo", CPU.replace("2000.1", "3999.9")), id="clock rate"),
        pytest.param(write("proc/cpuinfo", CPU.replace("0x1", "0xd000404")), id="microcode"),
        pytest.param(write("proc/cpuinfo", CPU.partition("\n\n")[0]), id="a processor is offline"),
        pytest.param(write("proc/cpuinfo", CPU + "model name\t: little\n"), id="what the other processors are"),
        pytest.param(write("proc/meminfo", "MemTotal:       24600000 kB\n"), id="a kernel that keeps more"),
        pytest.param(write("etc/hostname", "06b901841d4f\n"), id="hostname"),
        pytest.param(write("sys/class/net/eth0/address", "02:42:ac:11:00:09\n"), id="MAC"),
        pytest.param(write("proc/self/cgroup", "0::/docker/06b9\n"), id="cgroup"),
        pytest.param(write("sys/block/loop0/size", "16\n"), id="a loop device"),
        pytest.param(write("sys/class/dmi/id/bios_version", "2.1\n"), id="a new BIOS"),
        pytest.param(stick, id="a disk on USB"),
        pytest.param(card_reader, id="a card in its reader"),
        pytest.param(second_path, id="a second path to the disk"),
    ],
)
def test_what_changes_by_itself_is_not_in_it(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = machine(tmp_path)
    before = fingerprint.collect(tmp_path, root)
    change(root)
    assert fingerprint.collect(tmp_path, root) == before


@pytest.mark.parametrize(
    ("component", "change"),
    [
        ("machine_id", write("etc/machine-id", "c0ffee00c0ffee11c0ffee22c0ffee44\n")),
        ("disk", write("sys/block/nvme0n1/device/serial", "ANOTHER")),
        ("disk", write("sys/block/nvme0n1/size", "2000215216")),
        ("cpu", write("proc/cpuinfo", CPU.replace("9000", "9001"))),
        ("cpu", write("proc/cpuinfo", CPU.replace("106", "107"))),
        ("cpu", write("sys/devices/system/cpu/present", "0\n")),
        ("board", write("sys/class/dmi/id/product_name", "Another Box\n")),
        ("board", write("sys/class/dmi/id/board_name", "Canary Boards\n")),
        ("pci", write("sys/bus/pci/devices/0000:00:02.0/device", "0x0d58")),
        ("memory", write("proc/meminfo", "MemTotal:       32000000 kB\n")),
        ("boot", write("proc/sys/kernel/random/boot_id", "1e9a8d4e-0c57-4000-8000-ca0a51ba0002\n")),
    ],
)
def test_another_part_changes_its_own_component_alone(
    tmp_path: Path, component: str, change: Callable[[Path], object]
) -> None:
    root = machine(tmp_path)
    before = fingerprint.collect(tmp_path, root)
    change(root)
    after = fingerprint.collect(tmp_path, root)
    assert {name for name in WEIGHTS if after.get(name) != before.get(name)} == {component}


def test_another_architecture_is_another_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = machine(tmp_path)
    before = fingerprint.collect(tmp_path, root)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="riscv128"))
    after = fingerprint.collect(tmp_path, root)
    assert {name for name in WEIGHTS if after.get(name) != before.get(name)} == {"cpu"}


def test_the_order_in_which_the_kernel_has_found_things_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = machine(tmp_path)
    plant_disk(root, "sda", "pci0000:00/ata1", {"size": "62500000", "serial": "SECOND"})
    names = os.listdir
    found = []
    for reverse in (False, True):
        monkeypatch.setattr(os, "listdir", lambda path, reverse=reverse: sorted(names(path), reverse=reverse))
        found.append(fingerprint.collect(tmp_path, root))
    assert found[0] == found[1]
    assert len(found[0]["disk"].splitlines()) == len(found[0]["pci"].splitlines()) == 2


def test_two_directories_are_two_storages(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = (fingerprint.collect(each, tmp_path)["storage"] for each in (tmp_path, tmp_path / "other"))
    assert one.split(":")[0] == other.split(":")[0]
    assert one != other


def test_an_inode_alone_is_no_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_fsid=0))
    assert "has no id" in shown(tmp_path, "storage")


LAYER = "74 50 0:39 / / ro - overlay overlay rw\n"
FILE = "80 74 254:0 /m /etc/machine-id ro - ext4 /dev/vda rw\n"


@pytest.mark.parametrize(
    ("mounts", "taken"),
    [
        pytest.param(LAYER, False, id="the image's own"),
        pytest.param(LAYER.replace("overlay", "fuse.fuse-overlayfs"), False, id="the image's own, in user space"),
        pytest.param(LAYER + FILE.replace("/etc/machine-id", "/data"), False, id="something else mounted"),
        pytest.param(LAYER + FILE, True, id="mounted"),
        pytest.param(FILE + LAYER, True, id="mounted, listed first"),
        pytest.param(LAYER + FILE.replace("/etc/machine-id", "/etc"), True, id="/etc mounted"),
        pytest.param(
            HOST["proc/self/mountinfo"] + LAYER.replace(" / / ", " / /etc "), True, id="a host, /etc in layers"
        ),
    ],
)
def test_a_machine_id_that_came_with_the_image_is_not_the_host_s(tmp_path: Path, mounts: str, taken: bool) -> None:
    root = machine(tmp_path, {**HOST, "proc/self/mountinfo": mounts})
    assert ("machine_id" in fingerprint.collect(tmp_path, root)) is taken
    if not taken:
        assert "the image's own" in shown(root, "machine_id")


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_a_container_that_is_not_in_layers_is_known_by_its_mark(tmp_path: Path, mark: str) -> None:
    root = plant(machine(tmp_path), {mark: ""})
    assert "the image's own" in shown(root, "machine_id")
    plant(root, {"proc/self/mountinfo": HOST["proc/self/mountinfo"] + FILE})
    assert "machine_id" in fingerprint.collect(tmp_path, root)


def test_a_finding_does_not_print_what_it_found(tmp_path: Path) -> None:
    assert "c0ffee" not in repr(fingerprint.examine(tmp_path, machine(tmp_path)))


def test_on_linux_neither_psutil_nor_py_cpuinfo_is_loaded(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from node_agent import fingerprint
assert fingerprint.collect(Path(sys.argv[1]))
print([name for name in ("psutil", "cpuinfo", "node_agent.machine_facts_elsewhere") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_other_systems_are_asked_for_what_they_tell(tmp_path: Path) -> None:
    found = fingerprint.examine(tmp_path, tmp_path, "win32")
    assert {name for name, each in found.items() if each.value} == {"storage", "cpu", "memory"}
    assert found["machine_id"].why_missing == "this system does not tell"
    assert found["memory"].value == fingerprint.collect(tmp_path)["memory"]
    assert re.search(r"^count=[1-9]", found["cpu"].value or "", re.MULTILINE)
    assert "hz" not in (found["cpu"].value or "")
    apple = fingerprint.examine(tmp_path, tmp_path, "darwin")
    assert apple["machine_id"].why_missing == "/usr/sbin/ioreg does not answer"
    assert apple["boot"].why_missing == "/usr/sbin/sysctl does not answer"


def test_an_apple_s_machine_id_and_boot_are_read_from_what_its_programs_say() -> None:
    uuid = "4C4C4544-0043-3010-8052-B4C04F333358"
    registry = f'+-o J316sAP  <class IOPlatformExpertDevice>\n  {{\n    "IOPlatformUUID" = "{uuid}"\n  }}'
    assert machine_facts_elsewhere.machine_id(("printf", "%s", registry)) == uuid
    assert machine_facts_elsewhere.boot(("echo", uuid)) == uuid
    for command in (
        ("printf", "nothing"),
        ("printf", registry.replace(uuid, "0" * 8)),
        ("false",),
        ("no-such-program",),
    ):
        with pytest.raises(Missing):
            machine_facts_elsewhere.machine_id(command)


def test_the_page_names_every_component_with_its_weight() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: int(number) for name, number in rows} == WEIGHTS

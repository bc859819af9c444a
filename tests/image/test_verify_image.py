"""`build/verify_image` on our images, and on ones in which something is wrong: each is caught by its own line."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.image.engine import EPOCH, ROOT, docker, one_at_a_time

LIB: Final = "/opt/trading-node/lib"
LISTS: Final = f"{LIB}/node_agent/exchanges/allowlists"
KEY: Final = "-----BEGIN PRIVATE KEY-----\\n" + "MC4CAQAwBQYDK2VwBCIEIH" * 4 + "\\n"
OS_OF_PYTHON: Final = "$(ls /usr/lib/python3*/os.pyc /usr/local/lib/python3*/os.pyc 2>/dev/null | head -n 1)"
ALLOWED: Final = 'printf \'\\n[[allowed]]\\nwhy = "planted"\\nmethod = "%s"\\nurl = "https://%s"\\n\''
CAPABLE: Final = (
    "import os, struct; "
    "os.setxattr('/usr/bin/nice', 'security.capability', struct.pack('<5I', 0x02000001, 128, 0, 0, 0))"
)
FILES: Final = {
    "touch /opt/trading-node/lib/node_agent/stray.py": ("no_source", "node_agent/stray.py is a source"),
    "touch /usr/lib/stray.pyi": ("no_source", "/usr/lib/stray.pyi is a source"),
    "printf '#!/usr/local/bin/python\\nprint(1)\\n' >/usr/bin/tool": (
        "no_source",
        "/usr/bin/tool is a program as text",
    ),
    "mkdir /usr/lib/__pycache__": ("no_source", "/usr/lib/__pycache__"),
    f"printf 'abcd\\0\\0\\0\\0' >{LIB}/node_agent/other.pyc": ("bytecode_unchecked", "node_agent/other.pyc"),
    f"printf x >>{LIB}/node_agent/core/policy.pyc": ("manifest_equal", "policy.pyc is not the file that was built"),
    f"printf x >>{OS_OF_PYTHON}": ("manifest_equal", "/os.pyc is not the file that was built"),
    f"rm {LIB}/node_agent/runner.pyc": ("manifest_equal", "runner.pyc is in the manifest and not in the image"),
    f"cp {LIB}/node_agent/desk.pyc {LIB}/node_agent/more.pyc": (
        "manifest_equal",
        "more.pyc is in the image and not in",
    ),
    "chmod 4755 /usr/bin/env": ("no_rights_to_gain", "/usr/bin/env is setuid"),
    "cp /bin/true /usr/bin/apt-get": ("no_installer", "/usr/bin/apt-get"),
    "mkdir -p /usr/lib/site-packages/pip": ("no_installer", "/usr/lib/site-packages/pip"),
    "echo 'other:x:0:0::/:/bin/sh' >>/etc/passwd": ("nobody_s_user", "other is user 0"),
    f"chown 1000 {LIB}/node_agent/core": ("nobody_s_user", "node_agent/core belongs to 1000:0"),
    "chown 0:0 /data": ("nobody_s_user", "/data is 0:0"),
    f"printf -- '{KEY}' >/etc/key": ("no_secret", "/etc/key holds what looks like a private key"),
    f"{ALLOWED % ('POST', 'api.binance.com/sapi/v1/capital/withdraw/apply')} >>{LISTS}/binance.toml": (
        "allowlists_kept",
        "binance.toml allows POST https://api.binance.com/sapi/v1/capital/withdraw/apply",
    ),
    f"{ALLOWED % ('GET', 'www.okx.com/api/v5/more')} >>{LISTS}/okx.toml": (
        "allowlists_kept",
        "okx.toml allows more than the checkout's: GET https://www.okx.com/api/v5/more",
    ),
    f"mkdir {LISTS}/more && cp {LISTS}/okx.toml {LISTS}/more/": (
        "allowlists_kept",
        "more/okx.toml is in the image alone",
    ),
    "printf 'import os\\n' >/etc/real.py": ("no_source", "/etc/real.py is a source"),
    "printf 'import os\\n' >/opt/engine.py.txt": ("no_source", "/opt/engine.py.txt may hold sources"),
    "printf PK >/usr/share/pip-25.whl": ("no_source", "/usr/share/pip-25.whl may hold sources"),
    "touch /etc/ld.so.preload": ("manifest_equal", "/etc/ld.so.preload is in the image and not in the manifest"),
    "printf x >>/usr/bin/env": ("manifest_equal", "/usr/bin/env is not the file that was built"),
    "cp /bin/true /usr/bin/x86_64-linux-gnu-gcc-14": ("no_installer", "x86_64-linux-gnu-gcc-14 installs or compiles"),
    f"printf -- '{KEY}' >/etc/hidden.key": ("no_secret", "/etc/hidden.key holds what looks like a private key"),
    "rm /etc/hidden.key": ("nothing_hidden", "/etc/hidden.key hides something, or is hidden"),
    f'/usr/local/bin/python -IBSc "{CAPABLE}"': ("no_rights_to_gain", "/usr/bin/nice has capabilities"),
    "touch /data/vault.key": ("nobody_s_user", "/data/vault.key: /data is not empty"),
    "chmod 1777 /usr/bin/nproc": ("nobody_s_user", "/usr/bin/nproc may be written by anybody"),
    f"mkdir {LIB}/evil-1.0.dist-info": ("sbom_there", "evil 1.0 is not in the SBOM"),
}
"""What is done to the files of an image, the line that has to fail by it, and what that has to say."""
SETTINGS: Final = {
    "USER 0": ("nobody_s_user", "it runs as 0"),
    'LABEL org.opencontainers.image.version=""': ("settings", "image.version is missing"),
    "ENV TRADING_NODE_ROOT=allow": ("settings", "it would start as root"),
    'HEALTHCHECK CMD ["true"]': ("settings", "nothing asks for its health, or another than node-agent does"),
    'ENTRYPOINT ["env", "node-agent"]': ("settings", "it is started by ['env', 'node-agent']"),
    "ENV LD_LIBRARY_PATH=/tmp": ("settings", "LD_LIBRARY_PATH is set in it"),
    "ENV EXCHANGE_API_KEY=/abcdEFGH1234567890": ("no_secret", "EXCHANGE_API_KEY is set in the image"),
    "ARG DB_PASSWORD=hunter2hunter2\nRUN true": ("no_secret", "DB_PASSWORD is set in the image, or in a step"),
    "STOPSIGNAL SIGKILL": ("settings", "it is stopped by SIGKILL"),
    "ENV NODE_VAULT_PASSPHRASE=correct-horse": ("no_secret", "NODE_VAULT_PASSPHRASE is set in the image"),
    "RUN rm /opt/trading-node/sbom.cdx.json": ("sbom_there", "there is no SBOM"),
    f"RUN rm {LIB}/node_agent/cli/__init__.pyc": ("entry_points_import", "it ends with 1 at --version"),
}


@pytest.fixture
def planted(node_image: str) -> Iterator[str]:
    tag = f"trading-node/planted:{uuid.uuid4().hex[:12]}"
    yield tag
    subprocess.run(["docker", "image", "rm", "--force", tag], capture_output=True, check=False)


def verified(*words: str) -> tuple[int, str]:
    """Exit code and output."""
    command = [sys.executable, str(ROOT / "build/verify_image"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    return done.returncode, done.stdout + done.stderr


def test_our_images_hold_what_is_said_of_them(node_image: str, control_plane_image: str) -> None:
    for image in (node_image, control_plane_image):
        code, said = verified(image)
        assert code == 0, said
        assert "12 of 12 lines hold" in said


def test_what_was_done_to_the_files_of_an_image_is_caught_each_by_its_line(planted: str) -> None:
    recipe = "".join(f"RUN {step}\n" for step in FILES) + "USER 10001:10001\n"
    caught(planted, recipe, FILES.values())


def test_what_was_done_to_the_settings_of_an_image_is_caught_each_by_its_line(planted: str) -> None:
    caught(planted, "".join(f"{step}\n" for step in SETTINGS), SETTINGS.values())


def test_a_module_that_was_changed_together_with_its_line_is_caught_by_the_build_s_own_papers(
    planted: str, tmp_path: Path
) -> None:
    docker(
        "buildx", "build", "--quiet", "--target", "node-papers", "--output", tmp_path, "--build-arg",
        f"SOURCE_DATE_EPOCH={EPOCH}", "--provenance=false", ROOT,
    )  # fmt: skip
    code, said = verified("trading-node/node:test", "--papers", str(tmp_path / "node"))
    assert code == 0, said
    module, manifest = "lib/node_agent/core/policy.pyc", "manifest.sha256"
    digest = f"$(sha256sum <{module} | cut -c1-64)"
    swap = f"before={digest} && printf x >>{module} && sed -i s/$before/{digest}/ {manifest}"
    recipe = f"FROM trading-node/node:test\nUSER 0\nRUN cd /opt/trading-node && {swap}\nUSER 10001:10001\n"
    docker("build", "--quiet", "--tag", planted, "-", data=recipe.encode())
    assert "is not the file that was built" not in verified(planted, "--most", "50")[1]
    code, said = verified(planted, "--papers", str(tmp_path / "node"), "--most", "50")
    assert code == 1
    assert "manifest.sha256 is another than the build's" in sections(said)["manifest_equal"]


def caught(tag: str, recipe: str, wanted: Collection[tuple[str, str]]) -> None:
    with one_at_a_time("plant"):
        docker("build", "--quiet", "--tag", tag, "-", data=f"FROM trading-node/node:test\nUSER 0\n{recipe}".encode())
    code, said = verified(tag, "--most", "50")
    assert code == 1, said
    found = sections(said)
    assert [(line, told) for line, told in wanted if told not in found.get(line, "")] == []


def sections(said: str) -> dict[str, str]:
    """What was told of each line that fails, by the line's name."""
    parts = re.split(r"(?m)^(?=FAILS|holds|sha256:)", said)
    return {part.split()[1]: part for part in parts if part.startswith("FAILS")}


def test_what_is_no_image_and_what_is_asked_wrongly_is_told(engine: None) -> None:
    code, said = verified("trading-node/there-is-none:here")
    assert code == 2
    assert said.startswith("verify_image: error: ")
    assert "Traceback" not in said
    done = subprocess.run([ROOT / "build/verify_image"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "usage: build/verify_image" in done.stderr

"""A site of build/compose.yaml under a name of its own, with ports and secrets of its own."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import uuid
from pathlib import Path
from typing import Any, Final

import httpx

from tests.image.engine import ROOT, docker, one_at_a_time, tried
from tests.services import free_port

BASE: Final = "python:3.13-slim-trixie"
COMPOSE_FILE: Final = ROOT / "build/compose.yaml"
STAND_INS: Final = Path(__file__).parent / "stand_ins"
OURS: Final = {"CONTROL_PLANE_IMAGE": "control-plane", "NODE_IMAGE": "node"}
"""The variables that name our images, and what stands in for each."""
UP_SECONDS: Final = 400.0
_SETTINGS: Final = (
    "SITE",
    "EMAIL",
    "BIND",
    "HTTPS_PORT",
    "HTTP_PORT",
    "SECRETS",
    "COMPOSE_",
    "SOURCE_DATE_EPOCH",
    *OURS,
)


def stand_in(target: str) -> str:
    """The tag of a stand-in for one of our own images."""
    return f"trading-node/test-{target}:local"


def images_ensured() -> None:
    """Each image that compose names is there: its own, or, where no registry can be reached, its stand-in."""
    named = re.findall(r"^ +image: ((caddy|postgres|redis):\S+)$", COMPOSE_FILE.read_text(), re.MULTILINE)
    assert {name for _, name in named} == {"caddy", "postgres", "redis"}
    with one_at_a_time("stand-ins"):
        for tag, target in named:
            if tried("image", "inspect", tag).returncode != 0 and tried("pull", tag, within=600).returncode != 0:
                docker("build", "--quiet", "--target", target, "--tag", tag, STAND_INS, within=600)
        for target in OURS.values():
            docker("build", "--quiet", "--target", target, "--tag", stand_in(target), STAND_INS, within=600)


class Site:
    """A project of compose. Nothing is started by making one; `remove` takes away all that was."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.project = f"trading-node-test-{uuid.uuid4().hex[:8]}"
        self.secrets = folder / "secrets"
        self.https_port, self.http_port = free_port(), free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        self.environ = {
            **clean,
            **{variable: stand_in(target) for variable, target in OURS.items()},
            "COMPOSE_PROJECT_NAME": self.project,
            "SECRETS": str(self.secrets),
            "HTTPS_PORT": str(self.https_port),
            "HTTP_PORT": str(self.http_port),
            **environ,
        }

    @classmethod
    def of(cls, kept: Path) -> Site:
        """The one that another process has kept there."""
        site = cls.__new__(cls)
        vars(site).update(json.loads(kept.read_text()))
        site.secrets = Path(site.secrets)
        return site

    def keep(self, at: Path) -> None:
        """For other processes of the same run."""
        at.write_text(json.dumps(vars(self), default=str))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https_port}"

    def up(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`scripts/up`, to its end, whichever that is."""
        return self._ran(ROOT / "scripts/up", *words)

    def compose(self, *words: str | Path) -> str:
        """What a command of compose says. Fails the test when it fails."""
        done = self.tried(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def tried(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A command of compose to its end, whichever that is."""
        return self._ran("docker", "compose", "--file", COMPOSE_FILE, "--profile", "node", *words)

    def execute(self, service: str, *words: str) -> str:
        """What a command says in a container of the site."""
        return self.compose("exec", "-T", service, *words)

    def containers(self) -> dict[str, str]:
        """The container of each service."""
        mine = f"label=com.docker.compose.project={self.project}"
        said = docker("ps", "--filter", mine, "--format", '{{.Label "com.docker.compose.service"}}={{.ID}}')
        return dict(line.split("=") for line in sorted(said.splitlines()))

    def facts(self, container: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        [facts] = json.loads(docker("inspect", container))
        assert isinstance(facts, dict)
        return facts

    def client(self, **options: Any) -> httpx.Client:
        """Of the site, by its own certificate authority and no other."""
        trust = ssl.create_default_context(cafile=str(self.secrets / "ca.crt"))
        return httpx.Client(base_url=self.url, verify=trust, trust_env=False, timeout=60, **options)

    def remove(self) -> None:
        """Takes away its containers, networks and volumes."""
        self.tried("down", "--volumes", "--timeout", "5")

    def _ran(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )

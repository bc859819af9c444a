"""A real Docker engine for the tests: images built once a run, containers that are gone when their test is."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import pytest

from tests.support import until

ROOT: Final = Path(__file__).parent.parent.parent
EPOCH: Final = 1_700_000_000
"""The time that the tests' builds say it is."""
STARTED: Final = "TRADING_NODE_TEST_ENGINE"
"""The variable that names a file: whoever started an engine for this run makes it, and the run's end stops that one."""
PYTHON: Final = ("--entrypoint", "/usr/local/bin/python")
"""For a program of a test's own in an image."""
CANDLES: Final = "/opt/trading-node/lib/node_agent/demo/data/btc-perp-2022-01-24.csv.gz"
"""A recorded day, as the node's image has it."""
BUILD_SECONDS: Final = 900.0


def ensured() -> str | None:
    """Sees to an engine, and sets the environment up for it; None, or what is wrong where there can be none."""
    done = subprocess.run(
        [ROOT / "scripts/ensure-engine", "up"], capture_output=True, text=True, timeout=1200, check=False
    )
    if done.returncode != 0:
        return done.stderr.strip()
    for line in done.stdout.splitlines():
        if line == "started" and STARTED in os.environ:
            Path(os.environ[STARTED]).touch()
        elif line.startswith("DOCKER_HOST="):
            os.environ["DOCKER_HOST"] = line.partition("=")[2]
    return None


def required() -> None:
    """An engine answers from here on; without any there is nothing to test, which CI may not take for a success."""
    if wrong := ensured():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Docker engine: {wrong}")
        pytest.skip(f"no Docker engine: {wrong}")


def stop_what_was_started() -> None:
    """At the end of a run: the engine that it started, and no other."""
    if (started := os.environ.get(STARTED)) and Path(started).exists():
        subprocess.run([ROOT / "scripts/ensure-engine", "down"], timeout=120, check=False)
        Path(started).unlink()


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Of the processes that test at once, one is in here."""
    with Path(f"/tmp/trading-node-test-{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def docker(*words: str | Path, within: float = 120, data: bytes | None = None) -> str:
    """What a docker command says. Fails the test when it fails."""
    done = tried(*words, within=within, data=data)
    assert done.returncode == 0, f"docker {' '.join(map(str, words))}: {done.stderr}"
    return done.stdout


def tried(*words: str | Path, within: float = 120, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """A docker command to its end, whichever that is."""
    done = subprocess.run(["docker", *map(str, words)], capture_output=True, timeout=within, check=False, input=data)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def build(target: str, tag: str, *options: str, context: Path = ROOT) -> str:
    """Builds one of our images; gives its id."""
    with one_at_a_time("build"):
        docker(
            "buildx", "build", "--load", "--quiet", "--provenance=false", "--target", target, "--tag", tag,
            "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", *options, context, within=BUILD_SECONDS,
        )  # fmt: skip
        return docker("image", "inspect", "--format", "{{.Id}}", tag).strip()


class Container:
    """A container of the tests' own; taken away by its name."""

    def __init__(self, image: str, command: Sequence[str | Path] = (), options: Sequence[str | Path] = ()) -> None:
        self.name = f"trading-node-test-{uuid.uuid4().hex[:12]}"
        self._words = ["--name", self.name, *options, image, *command]

    def __enter__(self) -> Self:
        docker("create", *self._words)
        return self

    def __exit__(self, *_: object) -> None:
        tried("rm", "--force", "--volumes", self.name)

    def start(self) -> None:
        docker("start", self.name)

    def facts(self) -> dict[str, Any]:
        """What the engine knows of it."""
        [facts] = json.loads(docker("inspect", self.name))
        assert isinstance(facts, dict)
        return facts

    @property
    def running(self) -> bool:
        return bool(self.facts()["State"]["Running"])

    @property
    def health(self) -> str:
        return str(self.facts()["State"]["Health"]["Status"])

    def until_health(self, wanted: str, within: float = 60) -> None:
        """Waits until the engine says so of it; fails when it has ended."""
        until(lambda: self._health_or_end(wanted) or None, f"{self.name} to be {wanted}", within)

    def _health_or_end(self, wanted: str) -> bool:
        state = self.facts()["State"]
        assert state["Running"], f"it ended with {state['ExitCode']}: {self.log()[-2000:]}"
        return bool(state["Health"]["Status"] == wanted)

    def kill(self) -> None:
        docker("kill", self.name)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        docker("stop", "--time", "30", self.name)
        return int(self.facts()["State"]["ExitCode"])

    def execute(self, *words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command beside what runs in it."""
        return tried("exec", *(("--user", user) if user else ()), self.name, *words)

    def log(self) -> str:
        done = tried("logs", self.name)
        return done.stdout + done.stderr

    def copied(self, path: str, into: Path) -> Path:
        """A folder of it, as it is now, on the tests' side."""
        done = subprocess.run(
            ["docker", "cp", f"{self.name}:{path}", "-"], capture_output=True, timeout=120, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(into, filter="data")
        return into / Path(path).name


@contextmanager
def volume() -> Iterator[str]:
    """A named volume that is new."""
    name = f"trading-node-test-{uuid.uuid4().hex[:12]}"
    docker("volume", "create", name)
    try:
        yield name
    finally:
        with suppress(AssertionError):
            docker("volume", "rm", "--force", name)


def eventually(found: Callable[[], bool], what: str, within: float = 60) -> None:
    """Waits for it, with an end."""
    until(lambda: found() or None, what, within)

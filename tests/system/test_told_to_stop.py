"""SIGTERM and Ctrl-C before there was an answer: one line, the exit code for it, and nothing goes on by itself."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node_agent.demo.processes import Programs
from tests.support import WITHIN, NodeDir, environment, told, until


def started(*arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "node_agent", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**environ),
    )


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> subprocess.CompletedProcess[str]:
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=WITHIN)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def commands_that_name(directory: Path) -> list[str]:
    """The command lines of all processes that work in a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended while we looked
            continue
        if str(directory) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_stopped_takes_its_processes_and_its_directory_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    demo = started("demo", "--quiet", TMPDIR=str(tmp_path))
    until(
        lambda: [line for line in commands_that_name(tmp_path) if "node_agent run" in line] or None, "the demo's node"
    )
    assert told(stopped(demo, number), 130) == "interrupted"
    assert commands_that_name(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_a_process_is_made_is_heard_when_the_process_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NodeDir.made(tmp_path)
    programs = Programs(tmp_path, environment())
    made: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        made.append(popen(*arguments, **options))
        signal.raise_signal(signal.SIGINT)
        return made[0]

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(subprocess, "Popen", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            programs.start("node", "node-agent", "run", "--data-dir", str(node.path))
        programs.stop_all()
        assert made[0].poll() is not None
    finally:
        signal.signal(signal.SIGINT, before)
        made[0].kill()
        made[0].wait()


@pytest.mark.parametrize("background", [False, True])
def test_a_registration_that_waits_for_its_server_can_be_stopped(tmp_path: Path, background: bool) -> None:
    node = NodeDir.made(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        token = "nt_" + "a" * 16 + "_" + "A" * 43
        # A shell without job control has its background jobs ignore SIGINT.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN if background else signal.SIG_DFL)
        try:
            register = started(
                "register", "--data-dir", node.path, "--server", server, "--token", token, "--insecure-loopback"
            )
        finally:
            signal.signal(signal.SIGINT, before)
        silent.settimeout(WITHIN)
        with silent.accept()[0]:
            assert told(stopped(register, signal.SIGTERM), 130) == "interrupted"

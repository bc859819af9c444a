"""The owner's line to a node that runs: a Unix socket in the data directory, one JSON object a line, both ways.

One request a connection; the answer is one line or more, the last with `"done": true`. This is where the socket is, who
may speak on it, and how a command asks; `control.py` answers.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from node_agent.errors import Explained
from node_protocol import strict_json
from node_protocol.refusals import Malformed

SOCKET_FILE: Final = "node.sock"
LONGEST_LINE: Final = 1 << 20
"""Bytes of an answer: a thousand open orders, and more."""
_LONGEST_ADDRESS: Final = 100
"""Bytes of a path that every kernel takes as a socket's address."""
_SILENCE_SECONDS: Final = 30.0
"""A node says something at least every few seconds."""
_ROOT: Final = 0
_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group, as Linux tells them of a peer."""


class ControlError(Explained):
    """The node did not answer."""


class NotRunning(ControlError):
    """Nobody listens in this data directory."""


class NoAnswer(ControlError):
    """The node, or the patience of who asked, came to an end before there was an answer."""


@contextmanager
def reachable(data_dir: Path) -> Iterator[str]:
    """The socket's path, short enough for an address however long the directory's own path is."""
    path = data_dir / SOCKET_FILE
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_FILE}"
    finally:
        os.close(folder)


def is_owner(peer: socket.socket) -> bool:
    """Whether the other end is this very user or root. Where the kernel does not tell, the file's mode has decided."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return user in (_ROOT, os.geteuid())


def ask(data_dir: Path, request: Mapping[str, Any], *, within: float = _SILENCE_SECONDS) -> Iterator[dict[str, Any]]:
    """The lines of the answer, as they come; each within so many seconds of the one before.

    Raises NotRunning, NoAnswer when the line ends too early, and ControlError when it cannot be used at all.
    """
    try:
        with reachable(data_dir) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(within)
            line.connect(path)
            with suppress(BrokenPipeError):  # whoever is one too many is told so, and hung up on: that is read then
                line.sendall(strict_json.dumps(dict(request)) + b"\n")
            yield from _answers(line)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(
            f"no node runs on {data_dir}",
            f"start it with `node-agent run --data-dir {data_dir}`, with --live on a real exchange",
        ) from None
    except (TimeoutError, BlockingIOError):  # the second: so many wait that the socket takes no more
        raise NoAnswer(f"the node does not answer: nothing was heard of it for {within:.0f} s") from None
    except (BrokenPipeError, ConnectionResetError):
        raise _too_early() from None
    except OSError as error:
        raise ControlError(
            f"the node cannot be spoken with on {data_dir / SOCKET_FILE}: {(error.strerror or str(error)).lower()}",
            "do it as the user who runs the node, or as root",
        ) from None


def _answers(line: socket.socket) -> Iterator[dict[str, Any]]:
    with line.makefile("rb") as lines:
        while text := lines.readline(LONGEST_LINE):
            try:
                answer = strict_json.loads(text)
            except Malformed:
                break
            if not isinstance(answer, dict):
                break
            yield answer
            if answer.get("done") is True:
                return
    raise _too_early()


def _too_early() -> NoAnswer:
    return NoAnswer("the node ended before it had answered", "do it again: it holds then, whether the node runs or not")

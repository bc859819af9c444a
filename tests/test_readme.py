"""The README tells the truth: its server code runs, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from node_protocol.signatures import signature_of, verify_response
from tests.support import environment
from tests.verifier.nodes import Node
from verifier import enrolled

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_server_in_ten_lines_verifies_a_node_and_answers_it() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    node = Node()
    names: dict[str, Any] = {
        "my_keys": {node.key_id: node.key},
        "my_answer": lambda message, ticket: {"ticket": ticket, "acked_through": len(message.events)},
    }
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102
    names["store"].save(node.node_id, enrolled(node.ticket, node.machine))
    import time

    request = node.signed(created=int(time.time()))
    for status in (200, 409):
        answer = names["sync"](request.method, request.path, request.headers, request.body)
        assert answer.status == status
        verify_response(
            node.secret,
            key_id=node.key_id,
            status=status,
            headers=answer.headers,
            body=answer.body,
            request_signature=signature_of(request.headers),
        )


def test_every_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "docs/architecture.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_option_that_the_readme_shows_exists() -> None:
    shell = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL))
    for line in shell.splitlines():
        match = re.match(r"(?:export \S+\$\()?(node-agent|control-plane) ((?:[a-z]+ )*[a-z]+)(.*)", line)
        if match is None:
            continue
        program, words, rest = match.groups()
        module = program.replace("-", "_")
        done = subprocess.run(
            [sys.executable, "-m", module, *words.split(), "--help"],
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
            timeout=60,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in done.stdout, f"{line}: {option}"

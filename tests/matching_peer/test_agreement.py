"""The paper exchange fills as nautilus_trader's simulated exchange does, and differs where it means to."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.matching_peer import paper
from tests.matching_peer.script import Case, read

ROOT = Path(__file__).parent.parent.parent
CASES_FILE = Path(__file__).parent / "cases.json"
CASES = read(CASES_FILE)
AGREEING = [case for case in CASES if case.differs is None]
DIFFERING = [case for case in CASES if case.differs is not None]
KINDS = {
    "market",
    "limit",
    "stop",
    "gap",
    "partial",
    "fees",
    "minimum",
    "rounding",
    "ioc",
    "cancel",
    "priority",
    "funds",
}
DOCUMENT = ROOT / "docs" / "paper-exchange.md"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FOLDER = f".venv/peer-{PYTHON}"
HINT = f"`make test` sets it up, or by hand: scripts/venv python{PYTHON} peer {FOLDER}"


@pytest.fixture(scope="module")
def peer() -> Any:
    """What nautilus_trader makes of every case, and its version."""
    python = ROOT / FOLDER / "bin" / "python"
    # `made-of` is the last thing that scripts/venv writes
    if not (ROOT / FOLDER / "made-of").exists():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            pytest.skip(f"THE PEER IS NOT INSTALLED, NOTHING IS COMPARED: no wheel of it for this machine? {HINT}")
        pytest.fail(f"{FOLDER}, nautilus_trader's own environment, is not there; {HINT}")
    command = [str(python), "-m", "tests.matching_peer.nautilus", str(CASES_FILE)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def ours(cases: list[Case]) -> dict[str, Any]:
    return {case.name: asdict(paper.play(case)) for case in cases}


def test_fifty_and_more_cases_of_every_kind_agree_in_every_fill_fee_end_and_balance(peer: Any) -> None:
    assert ours(AGREEING) == {case.name: peer["outcomes"][case.name] for case in AGREEING}


def test_a_difference_is_what_it_is_said_to_be(peer: Any) -> None:
    assert ours(DIFFERING) == {case.name: case.differs["ours"] for case in DIFFERING if case.differs}
    for case in DIFFERING:
        assert case.differs is not None
        agrees_from = case.differs.get("agrees_from")
        agrees = agrees_from is not None and version(peer["version"]) >= version(agrees_from)
        assert peer["outcomes"][case.name] == case.differs["ours" if agrees else "theirs"], case.name


def test_there_are_cases_enough_and_of_every_kind() -> None:
    kinds = Counter(case.kind for case in AGREEING)
    assert set(kinds) == KINDS
    assert min(kinds.values()) >= 5
    assert kinds.total() >= 50
    assert len(DIFFERING) <= 10
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_difference_has_its_row_in_the_document() -> None:
    rows = re.findall(r"^\| (.+?) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert not {case.name for case in DIFFERING} - set(rows)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(".")[:2])

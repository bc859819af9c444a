"""The documents are true to the code: their code compiles, their links lead somewhere, no table leaves anything out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node_protocol.refusals import STATUS
from verifier import stores

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(document: Path) -> None:
    named = re.findall(
        r"`((?:node_protocol|verifier|node_agent|control_plane|tests|benchmarks|examples)/[\w/]+(?:\.\w+)?)`",
        document.read_text(encoding="utf-8"),
    )
    assert not [each for each in named if not (ROOT / each).exists()]


def test_the_ten_lines_are_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", text_of("verifier.md"), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        compile(block, "docs/verifier.md", "exec")


def test_every_refusal_is_explained_with_its_status() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| (\d{3}) \|", text_of("verifier.md"), re.MULTILINE)
    told = {code.strip("` "): int(status) for codes, status in rows for code in codes.split(",")}
    assert told == {str(code): status for code, status in STATUS.items()}


def test_every_store_has_its_row() -> None:
    named = {name for name in stores.__all__ if name.endswith("Store") and name != "Store"}
    assert all(f"| `{name}`" in text_of("verifier.md") for name in named)


def test_what_the_threat_model_points_at_is_there() -> None:
    shown = re.findall(r"`((?:tests|benchmarks)/[\w/.]+)`", text_of("threat-model.md"))
    assert len(shown) >= 10
    assert not [each for each in shown if not (ROOT / each).exists()]

"""What `--help` says where docstrings are gone, as they are in the image."""

from __future__ import annotations

from tests.image.helps import NODE_AGENT, helps


def test_help_reads_the_same_without_docstrings() -> None:
    told = helps("node-agent", NODE_AGENT, "-OO")
    assert {"node-agent", "node-agent run", "node-agent keys add", "node-agent orders give-up"} <= told.keys()
    assert [path for path, (text, _) in told.items() if not text] == []
    assert told == helps("node-agent", NODE_AGENT)

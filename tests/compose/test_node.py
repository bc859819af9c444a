"""The site on our own images, with a node beside it that comes by Caddy alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compose.drawing import DRAWN, edges
from tests.compose.site import OURS, Site
from tests.image import engine
from tests.support import until

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def real_site(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose control planes and node are what we ship."""
    # tags of its own: compose makes containers anew whose tag has become another image
    ours = {variable: f"trading-node/test-site-{target}:local" for variable, target in OURS.items()}
    for variable, target in OURS.items():
        engine.build(target, ours[variable])
    site = Site(tmp_path_factory.mktemp("real"), **ours)
    try:
        done = site.up()
        assert done.returncode == 0, done.stderr
        yield site
    finally:
        site.remove()


def control_plane(site: Site, server: int, *words: str) -> Any:
    """What a command of one of the two says, as JSON."""
    return json.loads(site.execute(f"control-plane-{server}", "control-plane", *words, "--json"))


def test_a_node_registers_by_caddy_and_what_it_reports_arrives_with_one_control_plane_too(real_site: Site) -> None:
    token = control_plane(real_site, 1, "token", "create")["token"]
    run = ["run", "--rm", "-T", "node"]
    real_site.compose(*run, "init", "--paper", "--candles", engine.CANDLES, "--name", "beside", "--non-interactive")
    registered = json.loads(
        real_site.compose(*run, "register", "--server", "https://caddy", "--token", token, "--json")
    )
    real_site.compose("up", "--detach", "--no-build", "--wait", "node")

    def stored(server: int) -> int:
        [node] = control_plane(real_site, server, "nodes", "list")
        assert (node["node_id"], node["name"], node["state"]) == (registered["node_id"], "beside", "active")
        return int(node["last_seq"])

    def all_stored(server: int) -> int | None:
        made = int(json.loads(real_site.execute("node", "node-agent", "status", "--json"))["events"]["last_seq"])
        return made if stored(server) == made > 0 else None

    before = until(lambda: all_stored(1), "what the node reports")
    assert edges(real_site) == DRAWN

    engine.docker("kill", real_site.containers()["control-plane-1"])
    real_site.execute("node", "node-agent", "pause")
    assert until(lambda: all_stored(2), "what it reports with one control plane gone") > before

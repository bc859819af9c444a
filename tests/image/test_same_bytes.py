"""Two builds without a cache, on one base, are one image: the same id, and so the same bytes."""

from __future__ import annotations

import pytest

from tests.image.engine import EPOCH, build

NO_CACHE = pytest.mark.timeout(900)


@NO_CACHE
def test_the_node_is_built_again_to_the_same_id(node_image: str) -> None:
    assert build("node", "trading-node/node:again", "--no-cache") == node_image


@NO_CACHE
def test_the_control_plane_is_built_again_to_the_same_id(control_plane_image: str) -> None:
    assert build("control-plane", "trading-node/control-plane:again", "--no-cache") == control_plane_image


@NO_CACHE
def test_a_cache_that_builds_of_another_time_have_filled_makes_no_other_image(node_image: str) -> None:
    other = build("node", "trading-node/node:another", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH + 1}")
    assert other != node_image
    again = "--no-cache-filter", "bare,node-sources,node-compiled,node"
    assert build("node", "trading-node/node:another", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH + 1}", *again) == other

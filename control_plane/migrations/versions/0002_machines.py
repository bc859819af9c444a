"""Nodes are found by the machine that they were seen on last; a revoked node has no state that could be in the way."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MARKS = ("machine_id", "boot")

_nodes = sa.table("nodes", sa.column("node_id"), sa.column("revoked_at"))
_states = sa.table("verifier_nodes", sa.column("node_id"), sa.column("state"), *map(sa.column, _MARKS))


def upgrade() -> None:
    """Adds what is equal on two nodes of one machine, and fills it in from the states that are there."""
    for name in _MARKS:
        op.add_column("verifier_nodes", sa.Column(name, sa.Text()))
        op.create_index(f"ix_verifier_nodes_{name}", "verifier_nodes", [name])
    connection = op.get_bind()
    revoked = sa.select(_nodes.c.node_id).where(_nodes.c.revoked_at.is_not(None))
    connection.execute(sa.delete(_states).where(_states.c.node_id.in_(revoked)))
    for node_id, text in connection.execute(sa.select(_states.c.node_id, _states.c.state)).all():
        state = json.loads(text)
        components = (state["seen"] or state["baseline"])["components"]
        marks = {name: components.get(name) for name in _MARKS}
        connection.execute(sa.update(_states).where(_states.c.node_id == node_id).values(marks))

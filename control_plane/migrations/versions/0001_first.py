"""The first form: deployment, nodes, keys, tokens, events, commands, alerts, and the verifier's two tables."""

import sqlalchemy as sa
from alembic import op

from control_plane.database import AnyText, Number, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes every table."""
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("salt_id", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(43), nullable=False),
        sa.Column("master_key_check", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployment"),
    )
    op.create_table(
        "nodes",
        sa.Column("node_id", sa.String(22), nullable=False),
        sa.Column("name", AnyText(), nullable=False),
        sa.Column("agent_version", AnyText(), nullable=False),
        sa.Column("platform", AnyText(), nullable=False),
        sa.Column("enrolled_at", UtcTime(), nullable=False),
        sa.Column("replaces", sa.String(22)),
        sa.Column("revoked_at", UtcTime()),
        sa.Column("first_sync_at", UtcTime()),
        sa.Column("last_sync_at", UtcTime()),
        sa.Column("last_seq", Number, nullable=False, server_default="0"),
        sa.Column("status", sa.Text()),
        sa.PrimaryKeyConstraint("node_id", name="pk_nodes"),
        sa.ForeignKeyConstraint(["replaces"], ["nodes.node_id"], name="fk_nodes_replaces"),
    )
    op.create_table(
        "node_keys",
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("node_id", sa.String(22), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("first_used_at", UtcTime()),
        sa.Column("retires_at", UtcTime()),
        sa.PrimaryKeyConstraint("key_id", name="pk_node_keys"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name="fk_node_keys_node_id"),
    )
    op.create_index("ix_node_keys_node_id_version", "node_keys", ["node_id", "version"], unique=True)
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.String(16), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("replaces", sa.String(22)),
        sa.Column("node_id", sa.String(22)),
        sa.Column("node_public", sa.String(43)),
        sa.Column("server_public", sa.String(43)),
        sa.Column("ticket", sa.String(40)),
        sa.PrimaryKeyConstraint("token_id", name="pk_tokens"),
        sa.ForeignKeyConstraint(["replaces"], ["nodes.node_id"], name="fk_tokens_replaces"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name="fk_tokens_node_id"),
    )
    op.create_table(
        "events",
        sa.Column("node_id", sa.String(22), nullable=False),
        sa.Column("seq", Number, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("node_id", "seq", name="pk_events"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name="fk_events_node_id"),
    )
    op.create_table(
        "commands",
        sa.Column("number", Number, autoincrement=True, nullable=False),
        sa.Column("command_id", sa.String(68), nullable=False),
        sa.Column("node_id", sa.String(22), nullable=False),
        sa.Column("issued_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("first_sent_at", UtcTime()),
        sa.Column("done_at", UtcTime()),
        sa.PrimaryKeyConstraint("number", name="pk_commands"),
        sa.UniqueConstraint("command_id", name="uq_commands_command_id"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name="fk_commands_node_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_commands_node_id_done_at", "commands", ["node_id", "done_at"])
    op.create_table(
        "alerts",
        sa.Column("number", Number, autoincrement=True, nullable=False),
        sa.Column("node_id", sa.String(22), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_alerts"),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.node_id"], name="fk_alerts_node_id"),
    )
    op.create_index("ix_alerts_node_id", "alerts", ["node_id"])
    op.create_table(
        "verifier_nonces",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(22), nullable=False),
        sa.Column("kept_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "nonce"),
    )
    op.create_index("verifier_nonces_kept_until", "verifier_nonces", ["kept_until"])
    op.create_table(
        "verifier_nodes",
        sa.Column("node_id", sa.String(22), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node_id"),
    )

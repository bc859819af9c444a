"""Alembic's entry: runs the steps on the connection that `control_plane.schema` hands over, in its transaction."""

from alembic import context

from control_plane.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

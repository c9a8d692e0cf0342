"""What alembic runs: the steps, on the connection that `conf/database.py` hands over."""

from __future__ import annotations

from alembic import context

from conf.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=False,  # the whole way is one transaction already, which the caller opened
)
context.run_migrations()

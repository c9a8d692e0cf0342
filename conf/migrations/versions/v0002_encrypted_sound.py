"""Whether the sound of an extension or a trunk is encrypted; it was not, so far."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = ("extensions", "trunks")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("srtp", sa.String(16), nullable=False, server_default="off"))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "srtp")

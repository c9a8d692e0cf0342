"""The tables of the configuration database, for SQLite and PostgreSQL alike.

Every change bumps the one row of `config_version` and leaves a row in `changes` for each thing that it
touched, in the same transaction: readers find out from these two what they must read again, and people
who changed what, and when. `conf/migrations/` builds the tables; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

NAMING = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
metadata = sa.MetaData(naming_convention=NAMING)


def audit() -> tuple[sa.Column[object], ...]:
    """Who made a row and who last changed it, and when (UTC)."""
    return (
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(100), nullable=False),
    )


config_version = sa.Table(
    "config_version",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("next_id", sa.Integer, nullable=False),  # ids of tenants and trunks, never used twice
)

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),  # tenant, extension, service, trunk
    sa.Column("action", sa.String(16), nullable=False),  # add, change, remove
    sa.Column("tenant_id", sa.Integer, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),  # a number, or the name of a tenant or trunk
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("by", sa.String(100), nullable=False),
)

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("realm", sa.String(255), nullable=False, unique=True),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("max_calls", sa.Integer, nullable=False),
    *audit(),
)

domains = sa.Table(
    "domains",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column(
        "tenant_id", sa.Integer, sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, index=True
    ),
)

extensions = sa.Table(
    "extensions",
    metadata,
    sa.Column("tenant_id", sa.Integer, sa.ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # conf/digests.py packed, conf/vault.py sealed
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("max_calls", sa.Integer, nullable=False),
    sa.Column("max_contacts", sa.Integer, nullable=False),
    sa.Column("ring_s", sa.Integer, nullable=False),
    sa.Column("contact", sa.String(255), nullable=False),
    sa.Column("srtp", sa.String(16), nullable=False, server_default="off"),
    *audit(),
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("tenant_id", sa.Integer, sa.ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.String(64), primary_key=True),
    sa.Column("app", sa.String(32), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    *audit(),
)

trunks = sa.Table(
    "trunks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", sa.Integer, sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("trusted_identity", sa.Boolean, nullable=False),
    sa.Column("max_calls", sa.Integer, nullable=False),
    sa.Column("srtp", sa.String(16), nullable=False, server_default="off"),
    *audit(),
    sa.UniqueConstraint("tenant_id", "name"),
)

trunk_networks = sa.Table(
    "trunk_networks",
    metadata,
    sa.Column("trunk_id", sa.Integer, sa.ForeignKey("trunks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("network", sa.String(64), primary_key=True),
)

"""Bring the database to the shape of conf/tables.py, step by step, up and down (alembic)."""

HEAD = "0002"
"""The newest step; known here so that a server whose database is current need not load alembic."""

"""Alembic's entry."""

from shared.migrate import run_env

run_env()

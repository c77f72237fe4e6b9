"""Alembic's entry; the work is done in the kernel."""

from shared.migrate import run_env

run_env()

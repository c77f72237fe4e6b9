"""Alembic's entry; the work is the kernel's."""

from shared.migrate import run_env

run_env()

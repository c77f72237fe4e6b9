"""What a migration sees of the bounds on its time."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "create table bounds as select current_setting('statement_timeout') as statement,"
        " current_setting('lock_timeout') as wait"
    )

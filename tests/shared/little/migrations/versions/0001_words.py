"""One table, and what a migration saw of its own bounds."""

from alembic import op

from shared.messaging.migration import create_kernel_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_kernel_tables(op.get_bind())
    op.execute("create table words (id uuid primary key, word varchar(20) not null)")
    op.execute("alter table words add constraint uq_words_word unique (word) deferrable initially deferred")

"""First release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('job',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('id', sa.String(length=40), nullable=False),
    sa.Column('kind', sa.String(length=100), nullable=False),
    sa.Column('payload', sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
    sa.Column('merchant_id', sa.String(length=40), nullable=True),
    sa.Column('run_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('state', sa.String(length=40), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('max_attempts', sa.Integer(), nullable=False),
    sa.Column('ordering_key', sa.String(length=200), nullable=True),
    sa.Column('dedupe_key', sa.String(length=200), nullable=True),
    sa.Column('locked_by', sa.String(length=100), nullable=True),
    sa.Column('locked_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_error', sa.String(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_job')),
    sa.UniqueConstraint('dedupe_key', name=op.f('uq_job_dedupe_key')),
    sa.UniqueConstraint('id', name=op.f('uq_job_id'))
    )
    with op.batch_alter_table('job', schema=None) as batch_op:
        batch_op.create_index('ix_job_due', ['run_at', 'seq'], unique=False, postgresql_where=sa.text("state IN ('ready', 'running')"), sqlite_where=sa.text("state IN ('ready', 'running')"))
        batch_op.create_index('ix_job_merchant_state', ['merchant_id', 'state'], unique=False)
        batch_op.create_index('ix_job_ordering', ['ordering_key', 'seq'], unique=False, postgresql_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"), sqlite_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"))



def downgrade() -> None:
    with op.batch_alter_table('job', schema=None) as batch_op:
        batch_op.drop_index('ix_job_ordering', postgresql_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"), sqlite_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"))
        batch_op.drop_index('ix_job_merchant_state')
        batch_op.drop_index('ix_job_due', postgresql_where=sa.text("state IN ('ready', 'running')"), sqlite_where=sa.text("state IN ('ready', 'running')"))

    op.drop_table('job')

"""The ledger refuses to be changed."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REFUSAL = "the ledger is append-only: add a row that corrects the other"
_UP = {
    "postgresql": (
        f"""CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$""",
        """CREATE TRIGGER transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()""",
    ),
    "sqlite": (
        f"""CREATE TRIGGER transactions_no_update BEFORE UPDATE ON transactions
BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
        f"""CREATE TRIGGER transactions_no_delete BEFORE DELETE ON transactions
BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
    ),
}
_DOWN = {
    "postgresql": (
        "DROP TRIGGER transactions_append_only ON transactions",
        "DROP FUNCTION refuse_ledger_change()",
    ),
    "sqlite": (
        "DROP TRIGGER transactions_no_update",
        "DROP TRIGGER transactions_no_delete",
    ),
}


def upgrade() -> None:
    for statement in _UP[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN[op.get_bind().dialect.name]:
        op.execute(statement)

"""First release."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "card_present_authorization",
        sa.Column("tap_id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.String(length=20), nullable=True),
        sa.Column("response_code", sa.String(length=2), nullable=False),
        sa.Column("authorization_code", sa.String(length=40), nullable=False),
        sa.Column("issuer_data", sa.String(length=2048), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.Column("processor_reference", sa.String(length=64), nullable=False),
        sa.Column("capture_reference", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("ksn", sa.String(length=24), nullable=False),
        sa.Column("reader_serial", sa.String(length=200), nullable=False),
        sa.Column("card_masked", sa.String(length=40), nullable=False),
        sa.Column("card_brand", sa.String(length=40), nullable=False),
        sa.Column("entry_mode", sa.String(length=40), nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("look_again_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("tap_id", name=op.f("pk_card_present_authorization")),
    )
    with op.batch_alter_table("card_present_authorization", schema=None) as batch_op:
        batch_op.create_index(
            "ix_card_present_authorization_due",
            ["look_again_at"],
            unique=False,
            postgresql_where=sa.text("state IN ('asked', 'approved', 'reversing', 'capturing')"),
            sqlite_where=sa.text("state IN ('asked', 'approved', 'reversing', 'capturing')"),
        )
        batch_op.create_index(
            "ix_card_present_authorization_merchant", ["merchant_id", "asked_at"], unique=False
        )
        batch_op.create_index("ix_card_present_authorization_session", ["session_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_card_present_authorization_transaction_id"),
            ["transaction_id"],
            unique=False,
        )
        batch_op.create_index(
            "uq_card_present_session_held",
            ["session_id"],
            unique=True,
            postgresql_where=sa.text("state IN ('asked', 'approved', 'capturing', 'captured')"),
            sqlite_where=sa.text("state IN ('asked', 'approved', 'capturing', 'captured')"),
        )

    op.create_table(
        "closing_run",
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("command_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("reader_id", "day", name=op.f("pk_closing_run")),
    )
    with op.batch_alter_table("closing_run", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_closing_run_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "day_closing",
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column(
            "reported", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "counted", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("result", sa.String(length=10), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("device_id", "epoch", "first_seq", name=op.f("pk_day_closing")),
    )
    with op.batch_alter_table("day_closing", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_day_closing_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "device_command",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=True),
        sa.Column("session_id", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("body", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("issued_by", sa.String(length=64), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_send_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("nonce", sa.String(length=64), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result_code", sa.String(length=200), nullable=False),
        sa.Column("result_text", sa.String(length=2000), nullable=False),
        sa.Column(
            "output", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_command")),
    )
    with op.batch_alter_table("device_command", schema=None) as batch_op:
        batch_op.create_index("ix_device_command_device_id", ["device_id", "id"], unique=False)
        batch_op.create_index(
            "ix_device_command_due",
            ["next_send_at"],
            unique=False,
            postgresql_where=sa.text("next_send_at IS NOT NULL"),
            sqlite_where=sa.text("next_send_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_device_command_expiry",
            ["expires_at"],
            unique=False,
            postgresql_where=sa.text("state = 'issued'"),
            sqlite_where=sa.text("state = 'issued'"),
        )

    op.create_table(
        "device_event",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=True),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("severity", sa.String(length=40), nullable=False),
        sa.Column("text", sa.String(length=2000), nullable=False),
        sa.Column(
            "facts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_event")),
    )
    with op.batch_alter_table("device_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_device_event_alarm",
            ["merchant_id", "id"],
            unique=False,
            postgresql_where=sa.text("severity = 'error'"),
            sqlite_where=sa.text("severity = 'error'"),
        )
        batch_op.create_index("ix_device_event_device", ["device_id", "id"], unique=False)
        batch_op.create_index(
            "ix_device_event_reader",
            ["reader_id", "id"],
            unique=False,
            postgresql_where=sa.text("reader_id IS NOT NULL"),
            sqlite_where=sa.text("reader_id IS NOT NULL"),
        )

    op.create_table(
        "inbox",
        sa.Column(
            "device_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("stream", sa.String(length=8), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("message_hash", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("device_id", "stream", "epoch", "seq", name=op.f("pk_inbox")),
    )
    op.create_table(
        "job",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        sa.Column(
            "payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("merchant_id", sa.String(length=40), nullable=True),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("ordering_key", sa.String(length=200), nullable=True),
        sa.Column("dedupe_key", sa.String(length=200), nullable=True),
        sa.Column("locked_by", sa.String(length=100), nullable=True),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_job")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_job_dedupe_key")),
        sa.UniqueConstraint("id", name=op.f("uq_job_id")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(
            "ix_job_due",
            ["run_at", "seq"],
            unique=False,
            postgresql_where=sa.text("state IN ('ready', 'running')"),
            sqlite_where=sa.text("state IN ('ready', 'running')"),
        )
        batch_op.create_index("ix_job_merchant_state", ["merchant_id", "state"], unique=False)
        batch_op.create_index(
            "ix_job_ordering",
            ["ordering_key", "seq"],
            unique=False,
            postgresql_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"),
            sqlite_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"),
        )

    op.create_table(
        "log_bundle",
        sa.Column("command_id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("command_id", name=op.f("pk_log_bundle")),
    )
    with op.batch_alter_table("log_bundle", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_log_bundle_device_id"), ["device_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_log_bundle_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_log_bundle_received_at"), ["received_at"], unique=False
        )

    op.create_table(
        "log_line",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("command_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("text", sa.String(length=4000), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_line")),
        sa.UniqueConstraint(
            "command_id", "seq", "position", name=op.f("uq_log_line_command_id_seq_position")
        ),
    )
    with op.batch_alter_table("log_line", schema=None) as batch_op:
        batch_op.create_index("ix_log_line_device", ["device_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_log_line_merchant_id"), ["merchant_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_log_line_received_at"), ["received_at"], unique=False)

    op.create_table(
        "merchant",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchant")),
    )
    op.create_table(
        "payment_field",
        sa.Column(
            "payment_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "key",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "merchant_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "folded",
            sa.String(length=200).with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("payment_id", "key", name=op.f("pk_payment_field")),
    )
    with op.batch_alter_table("payment_field", schema=None) as batch_op:
        batch_op.create_index(
            "ix_payment_field_found", ["merchant_id", "folded", "payment_id"], unique=False
        )

    op.create_table(
        "payment_moment",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("payment_id", sa.String(length=40), nullable=False),
        sa.Column("attempt_id", sa.String(length=40), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("text", sa.String(length=2000), nullable=False),
        sa.Column(
            "facts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("actor_name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_moment")),
    )
    with op.batch_alter_table("payment_moment", schema=None) as batch_op:
        batch_op.create_index("ix_payment_moment_payment", ["payment_id", "id"], unique=False)

    op.create_table(
        "quarantine",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("merchant_id", sa.String(length=40), nullable=True),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("stream", sa.String(length=8), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("message_hash", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "device_id", "message_hash", name=op.f("uq_quarantine_device_id_message_hash")
        ),
    )
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.create_index(
            "ix_quarantine_key", ["device_id", "stream", "epoch", "seq"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_quarantine_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "reader_day",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reader_count", sa.Integer(), nullable=False),
        sa.Column("reader_minor", sa.BigInteger(), nullable=False),
        sa.Column("ledger_count", sa.Integer(), nullable=False),
        sa.Column("ledger_minor", sa.BigInteger(), nullable=False),
        sa.Column("receipt_from", sa.BigInteger(), nullable=True),
        sa.Column("receipt_to", sa.BigInteger(), nullable=True),
        sa.Column(
            "per_scheme", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "differences", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reader_day")),
        sa.UniqueConstraint("event_id", name=op.f("uq_reader_day_event_id")),
    )
    with op.batch_alter_table("reader_day", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_reader_day_location_id"), ["location_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_reader_day_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_reader_day_reader_id"), ["reader_id"], unique=False)

    op.create_table(
        "session_step",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("text", sa.String(length=2000), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("remaining_ms", sa.Integer(), nullable=True),
        sa.Column("actor_name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_step")),
    )
    with op.batch_alter_table("session_step", schema=None) as batch_op:
        batch_op.create_index("ix_session_step_session_id", ["session_id", "id"], unique=False)

    op.create_table(
        "sign_in_throttle",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("window_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in_throttle")),
    )
    with op.batch_alter_table("sign_in_throttle", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_sign_in_throttle_window_ends_at"), ["window_ends_at"], unique=False
        )

    op.create_table(
        "stream_cursor",
        sa.Column(
            "device_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("stream", sa.String(length=8), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("upto", sa.BigInteger(), nullable=False),
        sa.Column("last_hash", sa.String(length=32), nullable=False),
        sa.Column(
            "beyond", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("gap_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("device_id", "stream", "epoch", name=op.f("pk_stream_cursor")),
    )
    op.create_table(
        "tap_session",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("cashier_id", sa.String(length=64), nullable=False),
        sa.Column("cashier_name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("card_timeout_s", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("holds_reader", sa.Boolean(), nullable=False),
        sa.Column("command_id", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.String(length=20), nullable=True),
        sa.Column("explanation", sa.String(length=2000), nullable=False),
        sa.Column("approved_minor", sa.BigInteger(), nullable=True),
        sa.Column("result_code", sa.Integer(), nullable=True),
        sa.Column("result_text", sa.String(length=200), nullable=False),
        sa.Column("authorization_code", sa.String(length=40), nullable=True),
        sa.Column("receipt_number", sa.BigInteger(), nullable=True),
        sa.Column("terminal_id", sa.String(length=40), nullable=True),
        sa.Column("card_brand", sa.String(length=40), nullable=True),
        sa.Column("card_masked", sa.String(length=40), nullable=True),
        sa.Column("entry_mode", sa.String(length=40), nullable=True),
        sa.Column("verification", sa.String(length=40), nullable=True),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("original_session_id", sa.String(length=64), nullable=True),
        sa.Column("original_transaction_id", sa.String(length=64), nullable=True),
        sa.Column("payment_id", sa.String(length=40), nullable=True),
        sa.Column("late_result", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tap_session")),
    )
    with op.batch_alter_table("tap_session", schema=None) as batch_op:
        batch_op.create_index(
            "ix_tap_session_heard",
            ["last_heard_at"],
            unique=False,
            postgresql_where=sa.text("holds_reader"),
            sqlite_where=sa.text("holds_reader"),
        )
        batch_op.create_index("ix_tap_session_merchant_id", ["merchant_id", "id"], unique=False)
        batch_op.create_index(
            "ix_tap_session_original",
            ["original_session_id"],
            unique=False,
            postgresql_where=sa.text("original_session_id IS NOT NULL"),
            sqlite_where=sa.text("original_session_id IS NOT NULL"),
        )
        batch_op.create_index("ix_tap_session_reader_id", ["reader_id", "id"], unique=False)
        batch_op.create_index(
            "uq_tap_session_reader_held",
            ["reader_id"],
            unique=True,
            postgresql_where=sa.text("holds_reader"),
            sqlite_where=sa.text("holds_reader"),
        )

    op.create_table(
        "transaction_settlement",
        sa.Column(
            "transaction_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "merchant_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("settlement_amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("settlement_currency", sa.String(length=3), nullable=False),
        sa.Column("settlement_rate", sa.Numeric(precision=24, scale=12), nullable=True),
        sa.Column("fee_minor", sa.BigInteger(), nullable=False),
        sa.Column("available_on", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source_id", sa.String(length=64), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", name=op.f("pk_transaction_settlement")),
    )
    op.create_table(
        "transactions",
        sa.Column(
            "id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "merchant_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "location_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "device_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "reader_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "session_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "payment_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "cashier_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "customer_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("method", sa.String(length=40), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("settlement_amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("settlement_currency", sa.String(length=3), nullable=True),
        sa.Column("settlement_rate", sa.Numeric(precision=24, scale=12), nullable=True),
        sa.Column("fee_minor", sa.BigInteger(), nullable=True),
        sa.Column(
            "original_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column(
            "source",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "external_id",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("card_brand", sa.String(length=40), nullable=True),
        sa.Column("card_last4", sa.String(length=4), nullable=True),
        sa.Column("card_masked", sa.String(length=40), nullable=True),
        sa.Column("entry_mode", sa.String(length=40), nullable=True),
        sa.Column("verification", sa.String(length=40), nullable=True),
        sa.Column("aid", sa.String(length=40), nullable=True),
        sa.Column("application_label", sa.String(length=100), nullable=True),
        sa.Column("authorization_code", sa.String(length=40), nullable=True),
        sa.Column("receipt_number", sa.BigInteger(), nullable=True),
        sa.Column("trace_number", sa.BigInteger(), nullable=True),
        sa.Column("terminal_id", sa.String(length=40), nullable=True),
        sa.Column("merchant_number", sa.String(length=40), nullable=True),
        sa.Column("result_code", sa.Integer(), nullable=True),
        sa.Column("result_text", sa.String(length=200), nullable=True),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("merchant_receipt", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.String(length=20), nullable=True),
        sa.Column("explanation", sa.Text(), nullable=True),
        sa.Column("message_hash", sa.String(length=32), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint(
            "source", "external_id", name=op.f("uq_transactions_source_external_id")
        ),
    )
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.create_index(
            "ix_transactions_customer",
            ["customer_id", "occurred_at"],
            unique=False,
            postgresql_where=sa.text("customer_id IS NOT NULL"),
            sqlite_where=sa.text("customer_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_transactions_merchant_time", ["merchant_id", "occurred_at", "id"], unique=False
        )
        batch_op.create_index(
            "ix_transactions_original",
            ["original_id"],
            unique=False,
            postgresql_where=sa.text("original_id IS NOT NULL"),
            sqlite_where=sa.text("original_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_transactions_payment",
            ["payment_id"],
            unique=False,
            postgresql_where=sa.text("payment_id IS NOT NULL"),
            sqlite_where=sa.text("payment_id IS NOT NULL"),
        )

    op.create_table(
        "user_account",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=True),
        sa.Column("language", sa.String(length=10), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("email", name=op.f("uq_user_account_email")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("prefix", sa.String(length=20), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column(
            "permissions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "location_ids", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_api_key_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_key_token_hash")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_merchant_id"), ["merchant_id"], unique=False)

    op.create_table(
        "audit_event",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tag", sa.String(length=80), nullable=False),
        sa.Column("actor_kind", sa.String(length=40), nullable=False),
        sa.Column("actor_id", sa.String(length=64), nullable=False),
        sa.Column("actor_name", sa.String(length=200), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("object_name", sa.String(length=200), nullable=False),
        sa.Column(
            "before", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("after", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=300), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_audit_event_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_event")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_event_id")),
        sa.UniqueConstraint("merchant_id", "seq", name=op.f("uq_audit_event_merchant_id_seq")),
    )
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_event_actor_id"), ["actor_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_event_object_id"), ["object_id"], unique=False)

    op.create_table(
        "audit_head",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_hash", sa.String(length=64), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_audit_head_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "card_present_account",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("processor", sa.String(length=20), nullable=False),
        sa.Column("organization", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("api_base", sa.String(length=300), nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"],
            ["merchant.id"],
            name=op.f("fk_card_present_account_merchant_id_merchant"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_present_account")),
        sa.UniqueConstraint("merchant_id", name=op.f("uq_card_present_account_merchant_id")),
    )
    op.create_table(
        "card_present_refund",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("tap_id", sa.String(length=64), nullable=False),
        sa.Column("original_id", sa.String(length=64), nullable=False),
        sa.Column("form_key", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("processor_reference", sa.String(length=64), nullable=False),
        sa.Column("problem", sa.String(length=300), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("requested_by_name", sa.String(length=200), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("look_again_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tap_id"],
            ["card_present_authorization.tap_id"],
            name=op.f("fk_card_present_refund_tap_id_card_present_authorization"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_present_refund")),
        sa.UniqueConstraint(
            "merchant_id", "form_key", name=op.f("uq_card_present_refund_merchant_id_form_key")
        ),
    )
    with op.batch_alter_table("card_present_refund", schema=None) as batch_op:
        batch_op.create_index(
            "ix_card_present_refund_due",
            ["look_again_at"],
            unique=False,
            postgresql_where=sa.text("state = 'asked'"),
            sqlite_where=sa.text("state = 'asked'"),
        )
        batch_op.create_index("ix_card_present_refund_tap", ["tap_id"], unique=False)

    op.create_table(
        "config_revision",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column(
            "document", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_config_revision_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("merchant_id", "number", name=op.f("pk_config_revision")),
    )
    op.create_table(
        "customer",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("phone", sa.String(length=40), nullable=False),
        sa.Column("company", sa.String(length=200), nullable=False),
        sa.Column(
            "address", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("language", sa.String(length=10), nullable=True),
        sa.Column("note", sa.String(length=2000), nullable=False),
        sa.Column("processor_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_customer_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer")),
        sa.UniqueConstraint(
            "merchant_id", "processor_id", name=op.f("uq_customer_merchant_id_processor_id")
        ),
    )
    with op.batch_alter_table("customer", schema=None) as batch_op:
        batch_op.create_index("ix_customer_merchant_email", ["merchant_id", "email"], unique=False)
        batch_op.create_index(
            "ix_customer_merchant_used", ["merchant_id", "used_at", "id"], unique=False
        )

    op.create_table(
        "firmware_release",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("profile", sa.String(length=100), nullable=False),
        sa.Column("component", sa.String(length=60), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("min_current", sa.String(length=200), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("is_vendor_signed", sa.Boolean(), nullable=False),
        sa.Column("notes", sa.String(length=2000), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("signature", sa.String(length=200), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_firmware_release_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firmware_release")),
        sa.UniqueConstraint(
            "merchant_id",
            "profile",
            "component",
            "version",
            "number",
            name=op.f("uq_firmware_release_merchant_id_profile_component_version_number"),
        ),
    )
    with op.batch_alter_table("firmware_release", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_firmware_release_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "history_import",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cursor", sa.String(length=300), nullable=True),
        sa.Column("payments", sa.Integer(), nullable=False),
        sa.Column("refunds", sa.Integer(), nullable=False),
        sa.Column("disputes", sa.Integer(), nullable=False),
        sa.Column("reached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(length=2000), nullable=True),
        sa.Column("started_by", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_history_import_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history_import")),
    )
    with op.batch_alter_table("history_import", schema=None) as batch_op:
        batch_op.create_index("ix_history_import_merchant_id", ["merchant_id", "id"], unique=False)

    op.create_table(
        "idempotency_key",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_idempotency_key_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("merchant_id", "route", "key", name=op.f("pk_idempotency_key")),
    )
    with op.batch_alter_table("idempotency_key", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_idempotency_key_created_at"), ["created_at"], unique=False
        )

    op.create_table(
        "invitation",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_invitation_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_invitation_user_id_user_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitation_token_hash")),
    )
    with op.batch_alter_table("invitation", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_invitation_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_invitation_user_id"), ["user_id"], unique=False)

    op.create_table(
        "location",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_location_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_location")),
        sa.UniqueConstraint("merchant_id", "name", name=op.f("uq_location_merchant_id_name")),
    )
    with op.batch_alter_table("location", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_location_merchant_id"), ["merchant_id"], unique=False)

    op.create_table(
        "mail_message",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("related_id", sa.String(length=64), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.Column("to", sa.String(length=254), nullable=False),
        sa.Column("reply_to", sa.String(length=254), nullable=False),
        sa.Column("sender_name", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column(
            "headers", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "attachments", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("handed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_mail_message_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_message")),
        sa.UniqueConstraint(
            "merchant_id", "dedupe_key", name=op.f("uq_mail_message_merchant_id_dedupe_key")
        ),
    )
    with op.batch_alter_table("mail_message", schema=None) as batch_op:
        batch_op.create_index(
            "ix_mail_message_merchant_time", ["merchant_id", "created_at", "id"], unique=False
        )
        batch_op.create_index("ix_mail_message_related", ["related_id", "created_at"], unique=False)

    op.create_table(
        "mailbox_message",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("to", sa.String(length=254), nullable=False),
        sa.Column("sender", sa.String(length=400), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_mailbox_message_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailbox_message")),
    )
    with op.batch_alter_table("mailbox_message", schema=None) as batch_op:
        batch_op.create_index(
            "ix_mailbox_message_merchant_time", ["merchant_id", "received_at", "id"], unique=False
        )

    op.create_table(
        "member_limit",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column(
            "charge", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "refund", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("day", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column(
            "methods", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_member_limit_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_member_limit_user_id_user_account")
        ),
        sa.PrimaryKeyConstraint("merchant_id", "user_id", name=op.f("pk_member_limit")),
    )
    with op.batch_alter_table("member_limit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_member_limit_user_id"), ["user_id"], unique=False)

    op.create_table(
        "membership",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column(
            "location_ids", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_membership_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_membership_user_id_user_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
        sa.UniqueConstraint(
            "merchant_id", "user_id", name=op.f("uq_membership_merchant_id_user_id")
        ),
    )
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_membership_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_membership_user_id"), ["user_id"], unique=False)

    op.create_table(
        "processor_account",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("processor", sa.String(length=20), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("secret_key", sa.Text(), nullable=False),
        sa.Column("publishable_key", sa.String(length=200), nullable=False),
        sa.Column("api_base", sa.String(length=300), nullable=False),
        sa.Column("script_url", sa.String(length=300), nullable=False),
        sa.Column("webhook_secrets", sa.Text(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("default_currency", sa.String(length=3), nullable=False),
        sa.Column("moto_enabled", sa.Boolean(), nullable=True),
        sa.Column("moto_probed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("swept_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_processor_account_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processor_account")),
        sa.UniqueConstraint("merchant_id", name=op.f("uq_processor_account_merchant_id")),
    )
    op.create_table(
        "processor_event",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=80), nullable=False),
        sa.Column("object_id", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(length=2000), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_processor_event_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processor_event")),
    )
    with op.batch_alter_table("processor_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_processor_event_merchant_id", ["merchant_id", "received_at"], unique=False
        )
        batch_op.create_index(
            "ix_processor_event_object", ["merchant_id", "object_id"], unique=False
        )
        batch_op.create_index(
            "ix_processor_event_open",
            ["received_at"],
            unique=False,
            postgresql_where=sa.text("processed_at IS NULL"),
            sqlite_where=sa.text("processed_at IS NULL"),
        )

    op.create_table(
        "receipt_template",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("message", sa.String(length=500), nullable=False),
        sa.Column("footer", sa.String(length=1000), nullable=False),
        sa.Column(
            "shown", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("language", sa.String(length=10), nullable=False),
        sa.Column("reply_to", sa.String(length=254), nullable=False),
        sa.Column("logo_png", sa.LargeBinary(), nullable=True),
        sa.Column("logo_width", sa.Integer(), nullable=False),
        sa.Column("logo_height", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_receipt_template_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_receipt_template")),
    )
    op.create_table(
        "tax_rate",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("percent", sa.Numeric(precision=7, scale=4), nullable=False),
        sa.Column("mode", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_tax_rate_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_rate")),
    )
    with op.batch_alter_table("tax_rate", schema=None) as batch_op:
        batch_op.create_index("ix_tax_rate_merchant", ["merchant_id", "position"], unique=False)

    op.create_table(
        "till_field",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("label_en", sa.String(length=80), nullable=False),
        sa.Column("label_fr", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column(
            "required_for", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "choices", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("pattern", sa.String(length=60), nullable=False),
        sa.Column("searchable", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_till_field_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_till_field")),
        sa.UniqueConstraint("merchant_id", "key", name=op.f("uq_till_field_merchant_id_key")),
    )
    op.create_table(
        "till_preset",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("method", sa.String(length=20), nullable=True),
        sa.Column("customer_id", sa.String(length=40), nullable=True),
        sa.Column("quick_key", sa.Integer(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_till_preset_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_till_preset")),
        sa.UniqueConstraint(
            "merchant_id", "quick_key", name=op.f("uq_till_preset_merchant_id_quick_key")
        ),
    )
    with op.batch_alter_table("till_preset", schema=None) as batch_op:
        batch_op.create_index("ix_till_preset_merchant", ["merchant_id", "position"], unique=False)

    op.create_table(
        "user_session",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_user_session_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_user_session_user_id_user_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_user_session_token_hash")),
    )
    with op.batch_alter_table("user_session", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_user_session_expires_at"), ["expires_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_user_session_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_user_session_user_id"), ["user_id"], unique=False)

    op.create_table(
        "alert",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("well_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raised", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_alert_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_alert_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("kind", "object_id", name=op.f("uq_alert_kind_object_id")),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_alert_location_id"), ["location_id"], unique=False)
        batch_op.create_index(
            "ix_alert_merchant_state", ["merchant_id", "state", "changed_at"], unique=False
        )

    op.create_table(
        "closing_schedule",
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.String(length=5), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_closing_schedule_location_id_location")
        ),
        sa.PrimaryKeyConstraint("location_id", name=op.f("pk_closing_schedule")),
    )
    with op.batch_alter_table("closing_schedule", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_closing_schedule_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "cloud_reader",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("processor_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("device_type", sa.String(length=60), nullable=False),
        sa.Column("serial_number", sa.String(length=100), nullable=False),
        sa.Column("software_version", sa.String(length=60), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shows_cart", sa.Boolean(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_cloud_reader_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_cloud_reader_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cloud_reader")),
        sa.UniqueConstraint(
            "merchant_id", "processor_id", name=op.f("uq_cloud_reader_merchant_id_processor_id")
        ),
    )
    with op.batch_alter_table("cloud_reader", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_cloud_reader_location_id"), ["location_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_cloud_reader_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "customer_word",
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column(
            "word",
            sa.String(length=64).with_variant(sa.String(length=64, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customer.id"],
            name=op.f("fk_customer_word_customer_id_customer"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("customer_id", "word", name=op.f("pk_customer_word")),
    )
    with op.batch_alter_table("customer_word", schema=None) as batch_op:
        batch_op.create_index(
            "ix_customer_word_found", ["merchant_id", "word", "customer_id"], unique=False
        )

    op.create_table(
        "device",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cell", sa.String(length=2), nullable=False),
        sa.Column("serial_number", sa.String(length=100), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("platform", sa.String(length=255), nullable=False),
        sa.Column("agent_version", sa.String(length=100), nullable=False),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("conn", sa.BigInteger(), nullable=False),
        sa.Column("presence", sa.String(length=10), nullable=False),
        sa.Column("presence_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_online", sa.Boolean(), nullable=False),
        sa.Column("online_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "reported", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "telemetry", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("telemetry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("replaces_id", sa.String(length=64), nullable=True),
        sa.Column("replaced_by_id", sa.String(length=64), nullable=True),
        sa.Column("certificate_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_device_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_device_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
    )
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_location_id"), ["location_id"], unique=False)
        batch_op.create_index("ix_device_merchant_state", ["merchant_id", "state"], unique=False)

    op.create_table(
        "enrollment_code",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=2), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("replaces_id", sa.String(length=64), nullable=True),
        sa.Column("max_uses", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_enrollment_code_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_enrollment_code_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollment_code")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_enrollment_code_code_hash")),
    )
    with op.batch_alter_table("enrollment_code", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_enrollment_code_location_id"), ["location_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_enrollment_code_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "firmware_update",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("release_id", sa.String(length=40), nullable=True),
        sa.Column("command_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("version_before", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=True),
        sa.Column("text", sa.String(length=2000), nullable=False),
        sa.Column("ordered_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_firmware_update_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["release_id"],
            ["firmware_release.id"],
            name=op.f("fk_firmware_update_release_id_firmware_release"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firmware_update")),
    )
    with op.batch_alter_table("firmware_update", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_firmware_update_device_id"), ["device_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_firmware_update_location_id"), ["location_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_firmware_update_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(
            "ix_firmware_update_reader", ["reader_id", "created_at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_firmware_update_release_id"), ["release_id"], unique=False
        )
        batch_op.create_index(
            "uq_firmware_update_open",
            ["reader_id"],
            unique=True,
            postgresql_where=sa.text("finished_at IS NULL"),
            sqlite_where=sa.text("finished_at IS NULL"),
        )

    op.create_table(
        "maintenance_period",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=64), nullable=False),
        sa.Column("begins_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"],
            ["location.id"],
            name=op.f("fk_maintenance_period_location_id_location"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"],
            ["merchant.id"],
            name=op.f("fk_maintenance_period_merchant_id_merchant"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance_period")),
    )
    with op.batch_alter_table("maintenance_period", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_maintenance_period_location_id"), ["location_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_maintenance_period_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_maintenance_period_object_id"), ["object_id"], unique=False
        )

    op.create_table(
        "payment",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=True),
        sa.Column("cashier_id", sa.String(length=64), nullable=False),
        sa.Column("cashier_name", sa.String(length=200), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=True),
        sa.Column("form_key", sa.String(length=64), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("tip_minor", sa.BigInteger(), nullable=False),
        sa.Column(
            "items", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "fields", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("receipt_email", sa.String(length=254), nullable=False),
        sa.Column("capture_later", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("processor_id", sa.String(length=64), nullable=True),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("authorized_minor", sa.BigInteger(), nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), nullable=False),
        sa.Column("capture_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("charge_id", sa.String(length=64), nullable=True),
        sa.Column("method_kind", sa.String(length=40), nullable=True),
        sa.Column("card_brand", sa.String(length=40), nullable=True),
        sa.Column("card_last4", sa.String(length=4), nullable=True),
        sa.Column("card_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("risk_level", sa.String(length=20), nullable=True),
        sa.Column("fee_minor", sa.BigInteger(), nullable=True),
        sa.Column("settlement_minor", sa.BigInteger(), nullable=True),
        sa.Column("settlement_currency", sa.String(length=3), nullable=True),
        sa.Column("settlement_rate", sa.String(length=40), nullable=True),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("duplicate_of", sa.String(length=40), nullable=True),
        sa.Column("explanation", sa.String(length=2000), nullable=False),
        sa.Column("look_again_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_payment_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_payment_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint(
            "merchant_id", "form_key", name=op.f("uq_payment_merchant_id_form_key")
        ),
        sa.UniqueConstraint(
            "merchant_id", "processor_id", name=op.f("uq_payment_merchant_id_processor_id")
        ),
    )
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_payment_card_fingerprint"), ["card_fingerprint"], unique=False
        )
        batch_op.create_index("ix_payment_customer", ["customer_id", "id"], unique=False)
        batch_op.create_index(
            "ix_payment_guard",
            ["merchant_id", "amount_minor", "currency", "created_at"],
            unique=False,
        )
        batch_op.create_index("ix_payment_merchant_id", ["merchant_id", "id"], unique=False)
        batch_op.create_index(
            "ix_payment_unsettled",
            ["look_again_at"],
            unique=False,
            postgresql_where=sa.text(
                "state IN ('in_progress', 'requires_action', 'processing', 'authorized', 'unknown')"
            ),
            sqlite_where=sa.text(
                "state IN ('in_progress', 'requires_action', 'processing', 'authorized', 'unknown')"
            ),
        )

    op.create_table(
        "phone",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("code_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("platform", sa.String(length=100), nullable=False),
        sa.Column("app_version", sa.String(length=60), nullable=False),
        sa.Column("paired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_phone_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_phone_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_phone")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_phone_code_hash")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_phone_token_hash")),
    )
    with op.batch_alter_table("phone", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_phone_location_id"), ["location_id"], unique=False)
        batch_op.create_index("ix_phone_merchant_id", ["merchant_id", "id"], unique=False)

    op.create_table(
        "processor_location",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("processor_id", sa.String(length=64), nullable=False),
        sa.Column(
            "address", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"],
            ["location.id"],
            name=op.f("fk_processor_location_location_id_location"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"],
            ["merchant.id"],
            name=op.f("fk_processor_location_merchant_id_merchant"),
        ),
        sa.PrimaryKeyConstraint("account_id", "location_id", name=op.f("pk_processor_location")),
    )
    with op.batch_alter_table("processor_location", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_processor_location_location_id"), ["location_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_processor_location_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "saved_method",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("customer_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("brand", sa.String(length=40), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("exp_month", sa.Integer(), nullable=True),
        sa.Column("exp_year", sa.Integer(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("funding", sa.String(length=20), nullable=False),
        sa.Column("bank_name", sa.String(length=200), nullable=False),
        sa.Column("processor_id", sa.String(length=64), nullable=False),
        sa.Column("mandate_id", sa.String(length=64), nullable=True),
        sa.Column("mandate_status", sa.String(length=40), nullable=True),
        sa.Column("consent_text", sa.String(length=2000), nullable=False),
        sa.Column("consent_how", sa.String(length=40), nullable=False),
        sa.Column("consent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("consent_by", sa.String(length=64), nullable=False),
        sa.Column("consent_by_name", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("status_reason", sa.String(length=100), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("allow_redisplay", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customer.id"], name=op.f("fk_saved_method_customer_id_customer")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_saved_method_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_method")),
        sa.UniqueConstraint(
            "merchant_id", "processor_id", name=op.f("uq_saved_method_merchant_id_processor_id")
        ),
    )
    with op.batch_alter_table("saved_method", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_saved_method_customer_id"), ["customer_id"], unique=False
        )
        batch_op.create_index(
            "ix_saved_method_expiry", ["merchant_id", "exp_year", "exp_month"], unique=False
        )
        batch_op.create_index(
            "uq_saved_method_default",
            ["customer_id"],
            unique=True,
            postgresql_where=sa.text("is_default"),
            sqlite_where=sa.text("is_default"),
        )

    op.create_table(
        "till_item",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("tax_id", sa.String(length=40), nullable=True),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("quick_key", sa.Integer(), nullable=True),
        sa.Column("colour", sa.String(length=40), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_till_item_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["tax_id"], ["tax_rate.id"], name=op.f("fk_till_item_tax_id_tax_rate")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_till_item")),
        sa.UniqueConstraint("merchant_id", "code", name=op.f("uq_till_item_merchant_id_code")),
        sa.UniqueConstraint(
            "merchant_id", "quick_key", name=op.f("uq_till_item_merchant_id_quick_key")
        ),
    )
    with op.batch_alter_table("till_item", schema=None) as batch_op:
        batch_op.create_index(
            "ix_till_item_merchant", ["merchant_id", "active", "name"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_till_item_tax_id"), ["tax_id"], unique=False)

    op.create_table(
        "till_settings",
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column(
            "currencies", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "tip_percents", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("tips_when_keyed", sa.Boolean(), nullable=False),
        sa.Column("default_tax_id", sa.String(length=40), nullable=True),
        sa.Column(
            "refund_limits",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "charge_limits",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column("address_check", sa.String(length=40), nullable=False),
        sa.Column("postal_code_check", sa.String(length=40), nullable=False),
        sa.Column("cvc_check", sa.String(length=40), nullable=False),
        sa.Column("moto", sa.Boolean(), nullable=False),
        sa.Column("duplicate_minutes", sa.Integer(), nullable=False),
        sa.Column("capture_later", sa.Boolean(), nullable=False),
        sa.Column("link_hours", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["default_tax_id"],
            ["tax_rate.id"],
            name=op.f("fk_till_settings_default_tax_id_tax_rate"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_till_settings_merchant_id_merchant")
        ),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_till_settings")),
    )
    op.create_table(
        "certificate",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_certificate_device_id_device")
        ),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificate")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_certificate_fingerprint")),
    )
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_device_id"), ["device_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_certificate_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "device_config",
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column(
            "document", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("must_send", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_device_config_device_id_device")
        ),
        sa.PrimaryKeyConstraint("device_id", name=op.f("pk_device_config")),
    )
    with op.batch_alter_table("device_config", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_device_config_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_device_config_must_send"), ["must_send"], unique=False)

    op.create_table(
        "device_config_version",
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column(
            "document", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "provenance", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "sealed", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_device_config_version_device_id_device")
        ),
        sa.PrimaryKeyConstraint("device_id", "version", name=op.f("pk_device_config_version")),
    )
    with op.batch_alter_table("device_config_version", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_device_config_version_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "device_life",
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("life", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_device_life_device_id_device")
        ),
        sa.PrimaryKeyConstraint("device_id", "boot", "life", name=op.f("pk_device_life")),
    )
    with op.batch_alter_table("device_life", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_device_life_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_device_life_seen_at"), ["seen_at"], unique=False)

    op.create_table(
        "dispute",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=True),
        sa.Column("payment_id", sa.String(length=40), nullable=True),
        sa.Column("processor_id", sa.String(length=64), nullable=False),
        sa.Column("charge_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.String(length=80), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("due_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("has_evidence", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_dispute_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_dispute_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_dispute_payment_id_payment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispute")),
        sa.UniqueConstraint(
            "merchant_id", "processor_id", name=op.f("uq_dispute_merchant_id_processor_id")
        ),
    )
    with op.batch_alter_table("dispute", schema=None) as batch_op:
        batch_op.create_index("ix_dispute_merchant_id", ["merchant_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_dispute_payment_id"), ["payment_id"], unique=False)

    op.create_table(
        "payment_attempt",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("payment_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("moto", sa.Boolean(), nullable=False),
        sa.Column("hint_brand", sa.String(length=40), nullable=True),
        sa.Column("hint_last4", sa.String(length=4), nullable=True),
        sa.Column("saved_method_id", sa.String(length=40), nullable=True),
        sa.Column("cloud_reader_id", sa.String(length=40), nullable=True),
        sa.Column("session_id", sa.String(length=64), nullable=True),
        sa.Column("link_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("link_sent_to", sa.String(length=254), nullable=True),
        sa.Column("charge_id", sa.String(length=64), nullable=True),
        sa.Column("code", sa.String(length=80), nullable=True),
        sa.Column("network_code", sa.String(length=20), nullable=True),
        sa.Column("message", sa.String(length=1000), nullable=False),
        sa.Column("card_brand", sa.String(length=40), nullable=True),
        sa.Column("card_last4", sa.String(length=4), nullable=True),
        sa.Column("card_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("address_check", sa.String(length=20), nullable=True),
        sa.Column("postal_code_check", sa.String(length=20), nullable=True),
        sa.Column("cvc_check", sa.String(length=20), nullable=True),
        sa.Column("three_d_secure", sa.String(length=40), nullable=True),
        sa.Column("risk_level", sa.String(length=20), nullable=True),
        sa.Column("authorization_code", sa.String(length=40), nullable=True),
        sa.Column("started_by", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_payment_attempt_payment_id_payment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempt")),
    )
    with op.batch_alter_table("payment_attempt", schema=None) as batch_op:
        batch_op.create_index("ix_payment_attempt_payment", ["payment_id", "number"], unique=True)
        batch_op.create_index("ix_payment_attempt_session", ["session_id"], unique=False)
        batch_op.create_index(
            "uq_payment_attempt_open",
            ["payment_id"],
            unique=True,
            postgresql_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
            sqlite_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
        )
        batch_op.create_index(
            "uq_payment_attempt_reader_held",
            ["cloud_reader_id"],
            unique=True,
            postgresql_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
            sqlite_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
        )

    op.create_table(
        "reader",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("profile", sa.String(length=100), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("vendor", sa.String(length=200), nullable=True),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("serial_number", sa.String(length=200), nullable=True),
        sa.Column("terminal_id", sa.String(length=100), nullable=True),
        sa.Column("software_version", sa.String(length=200), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "health", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"], ["device.id"], name=op.f("fk_reader_device_id_device")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reader")),
    )
    with op.batch_alter_table("reader", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reader_device_id"), ["device_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_reader_location_id"), ["location_id"], unique=False)
        batch_op.create_index(
            "ix_reader_merchant_location", ["merchant_id", "location_id"], unique=False
        )

    op.create_table(
        "refund",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("location_id", sa.String(length=40), nullable=True),
        sa.Column("payment_id", sa.String(length=40), nullable=False),
        sa.Column("form_key", sa.String(length=64), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column(
            "lines", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("processor_id", sa.String(length=64), nullable=True),
        sa.Column("failure_reason", sa.String(length=200), nullable=True),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("requested_by_name", sa.String(length=200), nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=True),
        sa.Column("decided_by_name", sa.String(length=200), nullable=True),
        sa.Column("transaction_id", sa.String(length=64), nullable=True),
        sa.Column("cloud_reader_id", sa.String(length=40), nullable=True),
        sa.Column("cancel_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("look_again_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["cloud_reader_id"],
            ["cloud_reader.id"],
            name=op.f("fk_refund_cloud_reader_id_cloud_reader"),
        ),
        sa.ForeignKeyConstraint(
            ["location_id"], ["location.id"], name=op.f("fk_refund_location_id_location")
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_refund_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_refund_payment_id_payment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("merchant_id", "form_key", name=op.f("uq_refund_merchant_id_form_key")),
        sa.UniqueConstraint(
            "merchant_id", "processor_id", name=op.f("uq_refund_merchant_id_processor_id")
        ),
    )
    with op.batch_alter_table("refund", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_refund_cloud_reader_id"), ["cloud_reader_id"], unique=False
        )
        batch_op.create_index("ix_refund_merchant_id", ["merchant_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_refund_payment_id"), ["payment_id"], unique=False)

    op.create_table(
        "reader_settings",
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column(
            "chosen", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "secrets", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_reader_settings_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["reader.id"], name=op.f("fk_reader_settings_reader_id_reader")
        ),
        sa.PrimaryKeyConstraint("reader_id", name=op.f("pk_reader_settings")),
    )
    with op.batch_alter_table("reader_settings", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_reader_settings_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "reader_task",
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("payment_id", sa.String(length=40), nullable=False),
        sa.Column("cloud_reader_id", sa.String(length=40), nullable=True),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("customer_may_cancel", sa.Boolean(), nullable=False),
        sa.Column("skip_tipping", sa.Boolean(), nullable=False),
        sa.Column("tip_eligible_minor", sa.BigInteger(), nullable=True),
        sa.Column("save_card", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("look_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["payment_attempt.id"],
            name=op.f("fk_reader_task_attempt_id_payment_attempt"),
        ),
        sa.ForeignKeyConstraint(
            ["cloud_reader_id"],
            ["cloud_reader.id"],
            name=op.f("fk_reader_task_cloud_reader_id_cloud_reader"),
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"], ["merchant.id"], name=op.f("fk_reader_task_merchant_id_merchant")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payment.id"], name=op.f("fk_reader_task_payment_id_payment")
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_reader_task")),
    )
    with op.batch_alter_table("reader_task", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_reader_task_cloud_reader_id"), ["cloud_reader_id"], unique=False
        )
        batch_op.create_index(
            "ix_reader_task_due",
            ["look_at"],
            unique=False,
            postgresql_where=sa.text("look_at IS NOT NULL"),
            sqlite_where=sa.text("look_at IS NOT NULL"),
        )
        batch_op.create_index(
            batch_op.f("ix_reader_task_merchant_id"), ["merchant_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_reader_task_payment_id"), ["payment_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("reader_task", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_reader_task_payment_id"))
        batch_op.drop_index(batch_op.f("ix_reader_task_merchant_id"))
        batch_op.drop_index(
            "ix_reader_task_due",
            postgresql_where=sa.text("look_at IS NOT NULL"),
            sqlite_where=sa.text("look_at IS NOT NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_reader_task_cloud_reader_id"))

    op.drop_table("reader_task")
    with op.batch_alter_table("reader_settings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_reader_settings_merchant_id"))

    op.drop_table("reader_settings")
    with op.batch_alter_table("refund", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_refund_payment_id"))
        batch_op.drop_index("ix_refund_merchant_id")
        batch_op.drop_index(batch_op.f("ix_refund_cloud_reader_id"))

    op.drop_table("refund")
    with op.batch_alter_table("reader", schema=None) as batch_op:
        batch_op.drop_index("ix_reader_merchant_location")
        batch_op.drop_index(batch_op.f("ix_reader_location_id"))
        batch_op.drop_index(batch_op.f("ix_reader_device_id"))

    op.drop_table("reader")
    with op.batch_alter_table("payment_attempt", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_payment_attempt_reader_held",
            postgresql_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
            sqlite_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
        )
        batch_op.drop_index(
            "uq_payment_attempt_open",
            postgresql_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
            sqlite_where=sa.text(
                "state IN ('created', 'sent', 'requires_action', 'processing', 'unknown')"
            ),
        )
        batch_op.drop_index("ix_payment_attempt_session")
        batch_op.drop_index("ix_payment_attempt_payment")

    op.drop_table("payment_attempt")
    with op.batch_alter_table("dispute", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_dispute_payment_id"))
        batch_op.drop_index("ix_dispute_merchant_id")

    op.drop_table("dispute")
    with op.batch_alter_table("device_life", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_life_seen_at"))
        batch_op.drop_index(batch_op.f("ix_device_life_merchant_id"))

    op.drop_table("device_life")
    with op.batch_alter_table("device_config_version", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_config_version_merchant_id"))

    op.drop_table("device_config_version")
    with op.batch_alter_table("device_config", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_config_must_send"))
        batch_op.drop_index(batch_op.f("ix_device_config_merchant_id"))

    op.drop_table("device_config")
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_certificate_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_certificate_device_id"))

    op.drop_table("certificate")
    op.drop_table("till_settings")
    with op.batch_alter_table("till_item", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_till_item_tax_id"))
        batch_op.drop_index("ix_till_item_merchant")

    op.drop_table("till_item")
    with op.batch_alter_table("saved_method", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_saved_method_default",
            postgresql_where=sa.text("is_default"),
            sqlite_where=sa.text("is_default"),
        )
        batch_op.drop_index("ix_saved_method_expiry")
        batch_op.drop_index(batch_op.f("ix_saved_method_customer_id"))

    op.drop_table("saved_method")
    with op.batch_alter_table("processor_location", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_processor_location_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_processor_location_location_id"))

    op.drop_table("processor_location")
    with op.batch_alter_table("phone", schema=None) as batch_op:
        batch_op.drop_index("ix_phone_merchant_id")
        batch_op.drop_index(batch_op.f("ix_phone_location_id"))

    op.drop_table("phone")
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_payment_unsettled",
            postgresql_where=sa.text(
                "state IN ('in_progress', 'requires_action', 'processing', 'authorized', 'unknown')"
            ),
            sqlite_where=sa.text(
                "state IN ('in_progress', 'requires_action', 'processing', 'authorized', 'unknown')"
            ),
        )
        batch_op.drop_index("ix_payment_merchant_id")
        batch_op.drop_index("ix_payment_guard")
        batch_op.drop_index("ix_payment_customer")
        batch_op.drop_index(batch_op.f("ix_payment_card_fingerprint"))

    op.drop_table("payment")
    with op.batch_alter_table("maintenance_period", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_maintenance_period_object_id"))
        batch_op.drop_index(batch_op.f("ix_maintenance_period_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_maintenance_period_location_id"))

    op.drop_table("maintenance_period")
    with op.batch_alter_table("firmware_update", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_firmware_update_open",
            postgresql_where=sa.text("finished_at IS NULL"),
            sqlite_where=sa.text("finished_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_firmware_update_release_id"))
        batch_op.drop_index("ix_firmware_update_reader")
        batch_op.drop_index(batch_op.f("ix_firmware_update_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_firmware_update_location_id"))
        batch_op.drop_index(batch_op.f("ix_firmware_update_device_id"))

    op.drop_table("firmware_update")
    with op.batch_alter_table("enrollment_code", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_enrollment_code_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_enrollment_code_location_id"))

    op.drop_table("enrollment_code")
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.drop_index("ix_device_merchant_state")
        batch_op.drop_index(batch_op.f("ix_device_location_id"))

    op.drop_table("device")
    with op.batch_alter_table("customer_word", schema=None) as batch_op:
        batch_op.drop_index("ix_customer_word_found")

    op.drop_table("customer_word")
    with op.batch_alter_table("cloud_reader", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cloud_reader_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_cloud_reader_location_id"))

    op.drop_table("cloud_reader")
    with op.batch_alter_table("closing_schedule", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_closing_schedule_merchant_id"))

    op.drop_table("closing_schedule")
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.drop_index("ix_alert_merchant_state")
        batch_op.drop_index(batch_op.f("ix_alert_location_id"))
        batch_op.drop_index(batch_op.f("ix_alert_device_id"))

    op.drop_table("alert")
    with op.batch_alter_table("user_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_user_session_user_id"))
        batch_op.drop_index(batch_op.f("ix_user_session_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_user_session_expires_at"))

    op.drop_table("user_session")
    with op.batch_alter_table("till_preset", schema=None) as batch_op:
        batch_op.drop_index("ix_till_preset_merchant")

    op.drop_table("till_preset")
    op.drop_table("till_field")
    with op.batch_alter_table("tax_rate", schema=None) as batch_op:
        batch_op.drop_index("ix_tax_rate_merchant")

    op.drop_table("tax_rate")
    op.drop_table("receipt_template")
    with op.batch_alter_table("processor_event", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_processor_event_open",
            postgresql_where=sa.text("processed_at IS NULL"),
            sqlite_where=sa.text("processed_at IS NULL"),
        )
        batch_op.drop_index("ix_processor_event_object")
        batch_op.drop_index("ix_processor_event_merchant_id")

    op.drop_table("processor_event")
    op.drop_table("processor_account")
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_membership_user_id"))
        batch_op.drop_index(batch_op.f("ix_membership_merchant_id"))

    op.drop_table("membership")
    with op.batch_alter_table("member_limit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_member_limit_user_id"))

    op.drop_table("member_limit")
    with op.batch_alter_table("mailbox_message", schema=None) as batch_op:
        batch_op.drop_index("ix_mailbox_message_merchant_time")

    op.drop_table("mailbox_message")
    with op.batch_alter_table("mail_message", schema=None) as batch_op:
        batch_op.drop_index("ix_mail_message_related")
        batch_op.drop_index("ix_mail_message_merchant_time")

    op.drop_table("mail_message")
    with op.batch_alter_table("location", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_location_merchant_id"))

    op.drop_table("location")
    with op.batch_alter_table("invitation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_invitation_user_id"))
        batch_op.drop_index(batch_op.f("ix_invitation_merchant_id"))

    op.drop_table("invitation")
    with op.batch_alter_table("idempotency_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotency_key_created_at"))

    op.drop_table("idempotency_key")
    with op.batch_alter_table("history_import", schema=None) as batch_op:
        batch_op.drop_index("ix_history_import_merchant_id")

    op.drop_table("history_import")
    with op.batch_alter_table("firmware_release", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_firmware_release_merchant_id"))

    op.drop_table("firmware_release")
    with op.batch_alter_table("customer", schema=None) as batch_op:
        batch_op.drop_index("ix_customer_merchant_used")
        batch_op.drop_index("ix_customer_merchant_email")

    op.drop_table("customer")
    op.drop_table("config_revision")
    with op.batch_alter_table("card_present_refund", schema=None) as batch_op:
        batch_op.drop_index("ix_card_present_refund_tap")
        batch_op.drop_index(
            "ix_card_present_refund_due",
            postgresql_where=sa.text("state = 'asked'"),
            sqlite_where=sa.text("state = 'asked'"),
        )

    op.drop_table("card_present_refund")
    op.drop_table("card_present_account")
    op.drop_table("audit_head")
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_event_object_id"))
        batch_op.drop_index(batch_op.f("ix_audit_event_actor_id"))

    op.drop_table("audit_event")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_key_merchant_id"))

    op.drop_table("api_key")
    op.drop_table("user_account")
    with op.batch_alter_table("transactions", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_transactions_payment",
            postgresql_where=sa.text("payment_id IS NOT NULL"),
            sqlite_where=sa.text("payment_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_transactions_original",
            postgresql_where=sa.text("original_id IS NOT NULL"),
            sqlite_where=sa.text("original_id IS NOT NULL"),
        )
        batch_op.drop_index("ix_transactions_merchant_time")
        batch_op.drop_index(
            "ix_transactions_customer",
            postgresql_where=sa.text("customer_id IS NOT NULL"),
            sqlite_where=sa.text("customer_id IS NOT NULL"),
        )

    op.drop_table("transactions")
    op.drop_table("transaction_settlement")
    with op.batch_alter_table("tap_session", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_tap_session_reader_held",
            postgresql_where=sa.text("holds_reader"),
            sqlite_where=sa.text("holds_reader"),
        )
        batch_op.drop_index("ix_tap_session_reader_id")
        batch_op.drop_index(
            "ix_tap_session_original",
            postgresql_where=sa.text("original_session_id IS NOT NULL"),
            sqlite_where=sa.text("original_session_id IS NOT NULL"),
        )
        batch_op.drop_index("ix_tap_session_merchant_id")
        batch_op.drop_index(
            "ix_tap_session_heard",
            postgresql_where=sa.text("holds_reader"),
            sqlite_where=sa.text("holds_reader"),
        )

    op.drop_table("tap_session")
    op.drop_table("stream_cursor")
    with op.batch_alter_table("sign_in_throttle", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sign_in_throttle_window_ends_at"))

    op.drop_table("sign_in_throttle")
    with op.batch_alter_table("session_step", schema=None) as batch_op:
        batch_op.drop_index("ix_session_step_session_id")

    op.drop_table("session_step")
    with op.batch_alter_table("reader_day", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_reader_day_reader_id"))
        batch_op.drop_index(batch_op.f("ix_reader_day_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_reader_day_location_id"))

    op.drop_table("reader_day")
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_quarantine_merchant_id"))
        batch_op.drop_index("ix_quarantine_key")

    op.drop_table("quarantine")
    with op.batch_alter_table("payment_moment", schema=None) as batch_op:
        batch_op.drop_index("ix_payment_moment_payment")

    op.drop_table("payment_moment")
    with op.batch_alter_table("payment_field", schema=None) as batch_op:
        batch_op.drop_index("ix_payment_field_found")

    op.drop_table("payment_field")
    op.drop_table("merchant")
    with op.batch_alter_table("log_line", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_log_line_received_at"))
        batch_op.drop_index(batch_op.f("ix_log_line_merchant_id"))
        batch_op.drop_index("ix_log_line_device")

    op.drop_table("log_line")
    with op.batch_alter_table("log_bundle", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_log_bundle_received_at"))
        batch_op.drop_index(batch_op.f("ix_log_bundle_merchant_id"))
        batch_op.drop_index(batch_op.f("ix_log_bundle_device_id"))

    op.drop_table("log_bundle")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_job_ordering",
            postgresql_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"),
            sqlite_where=sa.text("ordering_key IS NOT NULL AND state IN ('ready', 'running')"),
        )
        batch_op.drop_index("ix_job_merchant_state")
        batch_op.drop_index(
            "ix_job_due",
            postgresql_where=sa.text("state IN ('ready', 'running')"),
            sqlite_where=sa.text("state IN ('ready', 'running')"),
        )

    op.drop_table("job")
    op.drop_table("inbox")
    with op.batch_alter_table("device_event", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_device_event_reader",
            postgresql_where=sa.text("reader_id IS NOT NULL"),
            sqlite_where=sa.text("reader_id IS NOT NULL"),
        )
        batch_op.drop_index("ix_device_event_device")
        batch_op.drop_index(
            "ix_device_event_alarm",
            postgresql_where=sa.text("severity = 'error'"),
            sqlite_where=sa.text("severity = 'error'"),
        )

    op.drop_table("device_event")
    with op.batch_alter_table("device_command", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_device_command_expiry",
            postgresql_where=sa.text("state = 'issued'"),
            sqlite_where=sa.text("state = 'issued'"),
        )
        batch_op.drop_index(
            "ix_device_command_due",
            postgresql_where=sa.text("next_send_at IS NOT NULL"),
            sqlite_where=sa.text("next_send_at IS NOT NULL"),
        )
        batch_op.drop_index("ix_device_command_device_id")

    op.drop_table("device_command")
    with op.batch_alter_table("day_closing", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_day_closing_merchant_id"))

    op.drop_table("day_closing")
    with op.batch_alter_table("closing_run", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_closing_run_merchant_id"))

    op.drop_table("closing_run")
    with op.batch_alter_table("card_present_authorization", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_card_present_session_held",
            postgresql_where=sa.text("state IN ('asked', 'approved', 'capturing', 'captured')"),
            sqlite_where=sa.text("state IN ('asked', 'approved', 'capturing', 'captured')"),
        )
        batch_op.drop_index(batch_op.f("ix_card_present_authorization_transaction_id"))
        batch_op.drop_index("ix_card_present_authorization_session")
        batch_op.drop_index("ix_card_present_authorization_merchant")
        batch_op.drop_index(
            "ix_card_present_authorization_due",
            postgresql_where=sa.text("state IN ('asked', 'approved', 'reversing', 'capturing')"),
            sqlite_where=sa.text("state IN ('asked', 'approved', 'reversing', 'capturing')"),
        )

    op.drop_table("card_present_authorization")

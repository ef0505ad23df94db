"""The book of what devices have sent: how far each stream has come, what was kept aside, and days that were closed."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.db.columns import AutoIncrement, Json, UtcDateTime, table_of
from control_plane.transactions.models import id_column


class StreamCursor(SQLModel, table=True):
    """What has been taken in of one stream in one epoch of a device: duplicates are known by it, for ever.

    ``upto`` ends the prefix without a gap; ``beyond`` lists what came after a gap, as ranges
    ``[first, last, prev of first, hash of last]``.
    """

    __tablename__ = "stream_cursor"

    device_id: str = id_column(primary_key=True)
    stream: str = Field(primary_key=True, max_length=8)
    epoch: int = Field(primary_key=True)
    upto: int = Field(default=0, sa_type=BigInteger)
    last_hash: str = Field(max_length=32)
    beyond: list[Any] = Field(default_factory=list, sa_type=Json)
    #: Grows with each change: two processes that take in the same stream notice each other.
    version: int = 0
    gap_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: When the device was last asked to send again.
    asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: A newer epoch has begun; rows from ``upto + 1`` on that did not come are for reconciliation.
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Inbox(SQLModel, table=True):
    """Key and hash of every streamed message that is not a ledger row."""

    __tablename__ = "inbox"

    device_id: str = id_column(primary_key=True)
    stream: str = Field(primary_key=True, max_length=8)
    epoch: int = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    message_hash: str = Field(max_length=32)


class Quarantined(SQLModel, table=True):
    """A message that could not be taken in, as it came but without card numbers. It never holds up its stream."""

    __tablename__ = "quarantine"
    __table_args__ = (
        Index("ix_quarantine_key", "device_id", "stream", "epoch", "seq"),
        UniqueConstraint("device_id", "message_hash"),
    )

    id: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    merchant_id: str | None = Field(default=None, max_length=40, index=True)
    device_id: str = Field(max_length=64)
    channel: str = Field(max_length=20)
    stream: str | None = Field(default=None, max_length=8)
    epoch: int | None = Field(default=None, sa_type=BigInteger)
    seq: int | None = Field(default=None, sa_type=BigInteger)
    #: ``malformed``, ``changed``, ``session_twice``, ``refused``…
    code: str = Field(max_length=40)
    reason: str = Field(max_length=500)
    raw: str = Field(sa_type=Text)
    message_hash: str = Field(max_length=32)
    received_at: datetime = Field(sa_type=UtcDateTime)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    resolution: str = Field(default="", max_length=500)


class DayClosing(SQLModel, table=True):
    """A device's own count of a day beside the ledger's: what every other layer missed shows here."""

    __tablename__ = "day_closing"

    device_id: str = Field(primary_key=True, max_length=64)
    epoch: int = Field(primary_key=True)
    first_seq: int = Field(primary_key=True, sa_type=BigInteger)
    merchant_id: str = Field(max_length=40, index=True)
    last_seq: int = Field(sa_type=BigInteger)
    day: str = Field(max_length=10)
    #: ``[[currency, count, sum in minor units], …]``
    reported: list[Any] = Field(sa_type=Json)
    counted: list[Any] | None = Field(default=None, sa_type=Json)
    #: ``waiting`` until all rows up to ``last_seq`` are there, then ``agrees`` or ``differs``.
    result: str = Field(max_length=10)
    received_at: datetime = Field(sa_type=UtcDateTime)
    compared_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


CURSORS: Final = table_of(StreamCursor)
INBOX: Final = table_of(Inbox)
QUARANTINE: Final = table_of(Quarantined)
CLOSINGS: Final = table_of(DayClosing)

"""Tables of what boxes sent of their logs. Kept for some days only."""

from datetime import datetime
from typing import Final

from sqlalchemy import Column, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.db.columns import AutoIncrement, UtcDateTime, table_of


class LogLine(SQLModel, table=True):
    """One line of a live tail, as the box wrote it; its ids are in the order in which they came."""

    __tablename__ = "log_line"
    __table_args__ = (
        Index("ix_log_line_device", "device_id", "id"),
        UniqueConstraint("command_id", "seq", "position"),
    )

    id: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    merchant_id: str = Field(max_length=40, index=True)
    device_id: str = Field(max_length=64)
    command_id: str = Field(max_length=40)
    #: Number of the message within the tail, and of the line within the message.
    seq: int
    position: int
    level: str = Field(default="", max_length=10)
    #: JSON as the agent wrote it, without card numbers.
    text: str = Field(max_length=4000)
    written_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    received_at: datetime = Field(sa_type=UtcDateTime, index=True)


class LogBundle(SQLModel, table=True):
    """A zip file that a box sent because somebody asked for it."""

    __tablename__ = "log_bundle"

    command_id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(max_length=40, index=True)
    device_id: str = Field(max_length=64, index=True)
    size: int
    #: SHA-256, in hex.
    sha256: str = Field(max_length=64)
    content: bytes = Field(sa_type=LargeBinary)
    received_at: datetime = Field(sa_type=UtcDateTime, index=True)


LOG_LINES: Final = table_of(LogLine)
LOG_BUNDLES: Final = table_of(LogBundle)

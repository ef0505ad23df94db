"""Tables of closings and of when they are due."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.db.columns import Json, UtcDateTime, table_of, text_enum


class DayStatus(StrEnum):
    """What the comparison of a closing said."""

    MATCHES = "matches"
    DIFFERS = "differs"


class ReaderDay(SQLModel, table=True):
    """One closing of a reader, as it told its totals, and what the ledger has for the same time."""

    __tablename__ = "reader_day"
    __table_args__ = (UniqueConstraint("event_id"),)

    id: str = Field(primary_key=True, max_length=64)
    merchant_id: str = Field(max_length=40, index=True)
    location_id: str = Field(max_length=40, index=True)
    reader_id: str = Field(max_length=64, index=True)
    #: The device's report that told the totals.
    event_id: int = Field(sa_type=BigInteger)
    #: Of the closing before; None for the first one.
    opened_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    closed_at: datetime = Field(sa_type=UtcDateTime)
    currency: str = Field(max_length=3)
    reader_count: int
    reader_minor: int = Field(sa_type=BigInteger)
    ledger_count: int
    ledger_minor: int = Field(sa_type=BigInteger)
    receipt_from: int | None = Field(default=None, sa_type=BigInteger)
    receipt_to: int | None = Field(default=None, sa_type=BigInteger)
    #: ``[[scheme, count, minor], …]`` as the reader told.
    per_scheme: list[Any] = Field(default_factory=list, sa_type=Json)
    #: See ``comparing.Difference``.
    differences: list[Any] = Field(default_factory=list, sa_type=Json)
    status: DayStatus = Field(sa_type=text_enum(DayStatus))
    compared_at: datetime = Field(sa_type=UtcDateTime)


class ClosingSchedule(SQLModel, table=True):
    """When the readers of a shop close their day by themselves."""

    __tablename__ = "closing_schedule"

    location_id: str = Field(primary_key=True, foreign_key="location.id", max_length=40)
    merchant_id: str = Field(max_length=40, index=True)
    #: ``HH:MM`` in the shop's time zone; empty: never.
    at: str = Field(default="", max_length=5)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ClosingRun(SQLModel, table=True):
    """A reader was asked to close its day; at most one of these a reader and local day."""

    __tablename__ = "closing_run"

    reader_id: str = Field(primary_key=True, max_length=64)
    day: date = Field(primary_key=True)
    merchant_id: str = Field(max_length=40, index=True)
    attempts: int = Field(default=1)
    asked_at: datetime = Field(sa_type=UtcDateTime)
    command_id: str = Field(max_length=64)


DAYS: Final = table_of(ReaderDay)
SCHEDULES: Final = table_of(ClosingSchedule)
RUNS: Final = table_of(ClosingRun)

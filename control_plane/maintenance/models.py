"""Table of maintenance periods."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlmodel import Field, SQLModel

from control_plane.db.columns import UtcDateTime, table_of, text_enum


class Subject(StrEnum):
    """What a period is about."""

    LOCATION = "location"
    DEVICE = "device"
    READER = "reader"


class MaintenancePeriod(SQLModel, table=True):
    """From ``begins_at`` until before ``ends_at`` nothing of the object raises an alert."""

    __tablename__ = "maintenance_period"

    #: ``mnt_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key="merchant.id", index=True, max_length=40)
    location_id: str = Field(foreign_key="location.id", index=True, max_length=40)
    subject: Subject = Field(sa_type=text_enum(Subject))
    object_id: str = Field(index=True, max_length=64)
    begins_at: datetime = Field(sa_type=UtcDateTime)
    ends_at: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(default="", max_length=500)
    created_by: str = Field(default="", max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)


PERIODS: Final = table_of(MaintenancePeriod)

"""Table of alerts."""

from datetime import datetime
from typing import Final

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.alerts.stepping import AlertState
from control_plane.db.columns import UtcDateTime, table_of, text_enum


class Alert(SQLModel, table=True):
    """One kind of trouble of one object. It is one row for ever: what comes back is counted."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("kind", "object_id"),
        Index("ix_alert_merchant_state", "merchant_id", "state", "changed_at"),
    )

    #: ``alr_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key="merchant.id", max_length=40)
    location_id: str = Field(foreign_key="location.id", index=True, max_length=40)
    device_id: str = Field(index=True, max_length=64)
    #: The device, or the reader.
    object_id: str = Field(max_length=64)
    kind: str = Field(max_length=60)
    state: AlertState = Field(sa_type=text_enum(AlertState))
    #: Since when it is in this state.
    changed_at: datetime = Field(sa_type=UtcDateTime)
    #: Since when all is well, while it is not resolved.
    well_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: How often it was opened.
    raised: int = 0


ALERTS: Final = table_of(Alert)
